CREATE SCHEMA {derived};

CREATE TABLE {derived}.state (
  key    uuid NOT NULL,
  sub    uuid NOT NULL,
  part   int NOT NULL,
  number bigint NOT NULL,
  due    timestamptz,
  status text,
  body   bytea NOT NULL,
  PRIMARY KEY (key, sub)
) WITH ({updated});
CREATE INDEX state_due ON {derived}.state (part, due, key, sub) WHERE due IS NOT NULL;

CREATE TABLE {derived}.history (
  number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  part   int NOT NULL,
  key    uuid NOT NULL,
  at     timestamptz NOT NULL,
  entry  jsonb NOT NULL
);
CREATE INDEX history_key ON {derived}.history (key, number);
