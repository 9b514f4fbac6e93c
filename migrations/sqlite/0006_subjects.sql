-- The person on whose behalf a workflow acts, as whoever made the token vouched for them: a JSON object, or nothing.
ALTER TABLE tokens ADD COLUMN subject TEXT;
-- The lawful basis on which a one-time link was asked for: whoever follows it acts on the same one.
ALTER TABLE links ADD COLUMN lawful_basis TEXT;
