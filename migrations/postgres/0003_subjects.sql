-- The person on whose behalf a workflow acts, as whoever made the token vouched for them: a JSON object, or nothing. The
-- program before this one names its columns, and goes on without it.
ALTER TABLE tokens ADD COLUMN subject text;
-- The lawful basis on which a one-time link was asked for: whoever follows it acts on the same one.
ALTER TABLE links ADD COLUMN lawful_basis text;
