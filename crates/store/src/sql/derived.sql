CREATE SCHEMA {derived};

CREATE TABLE {derived}.state (
  key    uuid NOT NULL,
  sub    uuid NOT NULL,
  part   int NOT NULL,
  number bigint NOT NULL,
  due    timestamptz,
  -- By this the row is found: not after `due`, and left where it is for as long as it may be (commit.sql). A column that is indexed and
  -- changes costs an entry in every index of the table.
  wake   timestamptz,
  status text,
  body   bytea NOT NULL,
  PRIMARY KEY (key, sub),
  CONSTRAINT state_wakes_in_time CHECK ((wake IS NULL) = (due IS NULL) AND wake <= due)
) WITH ({updated});
CREATE INDEX state_wake ON {derived}.state (part, wake, key, sub) WHERE wake IS NOT NULL;

CREATE TABLE {derived}.history (
  number bigint GENERATED ALWAYS AS IDENTITY,
  part   int NOT NULL,
  key    uuid NOT NULL,
  at     timestamptz NOT NULL,
  entry  jsonb NOT NULL,
  PRIMARY KEY (key, number)
);
