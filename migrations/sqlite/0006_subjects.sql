-- The person on whose behalf a workflow acts, as whoever made the token vouched for them: a JSON object, or nothing.
ALTER TABLE tokens ADD COLUMN subject TEXT;
