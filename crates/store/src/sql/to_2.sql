ALTER TABLE {derived}.state ADD COLUMN wake timestamptz;
UPDATE {derived}.state SET wake = due WHERE due IS NOT NULL;
ALTER TABLE {derived}.state
  ADD CONSTRAINT state_wakes_in_time CHECK ((wake IS NULL) = (due IS NULL) AND wake <= due);
DROP INDEX {derived}.state_due;
CREATE INDEX state_wake ON {derived}.state (part, wake, key, sub) WHERE wake IS NOT NULL;
ALTER TABLE {derived}.history DROP CONSTRAINT history_pkey, ADD PRIMARY KEY (key, number);
DROP INDEX {derived}.history_key;
INSERT INTO {control}.schema_version (version) VALUES (2);
