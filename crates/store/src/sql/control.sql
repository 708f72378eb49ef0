CREATE SCHEMA {control};

CREATE TABLE {control}.schema_version (
  version    int PRIMARY KEY,
  applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the tables of each generation were declared as, so that a changed declaration is noticed.
CREATE TABLE {control}.generation (
  number     int PRIMARY KEY,
  tables     jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row per input partition. Rewritten by every transaction: the free space keeps the new version on the same page.
CREATE TABLE {control}.partition (
  part             int PRIMARY KEY,
  version          bigint NOT NULL DEFAULT 0,
  next_data        bigint NOT NULL,
  next_control     bigint NOT NULL,
  incarnation      bigint NOT NULL,
  out_seq          bigint NOT NULL DEFAULT 0,
  published_seq    bigint NOT NULL DEFAULT 0,
  held_next        bigint NOT NULL DEFAULT 1,
  last_numbers     bytea  NOT NULL DEFAULT '',
  marks            bytea  NOT NULL DEFAULT '',
  accepts_first    boolean NOT NULL,
  cluster_id       text NOT NULL,
  data_topic_id    text NOT NULL,
  control_topic_id text NOT NULL,
  generation       int NOT NULL DEFAULT 1
) WITH (fillfactor = 20);

-- One row per batch and partition. Messages do not compress well enough to pay for trying.
CREATE TABLE {control}.outbox (
  part      int NOT NULL,
  last_seq  bigint NOT NULL,
  slot      int NOT NULL,
  first_seq bigint NOT NULL,
  messages  bytea NOT NULL,
  PRIMARY KEY (part, last_seq, slot)
) PARTITION BY LIST (slot);
ALTER TABLE {control}.outbox ALTER COLUMN messages SET STORAGE EXTERNAL;

-- Commands from outside that were applied.
CREATE TABLE {control}.applied (
  id           uuid NOT NULL,
  slot         int NOT NULL,
  request_hash bytea,
  closing_type text,
  closing_body bytea,
  PRIMARY KEY (id, slot)
) PARTITION BY LIST (slot);

CREATE TABLE {control}.intent (
  id         uuid PRIMARY KEY,
  part       int NOT NULL,
  key        uuid NOT NULL,
  request    bytea NOT NULL,
  reply      jsonb,
  thread     jsonb NOT NULL,
  created_at timestamptz NOT NULL,
  status     text NOT NULL CHECK (status IN ('open', 'needs-attention')),
  attempts   int NOT NULL,
  code       text
);
CREATE INDEX intent_part ON {control}.intent (part, created_at);

-- Records behind a busy or blocked key. Keys come from strangers and may be too long for an index: their hash is not.
CREATE TABLE {control}.held (
  part       int NOT NULL,
  number     bigint NOT NULL,
  key_hash   bytea NOT NULL,
  stream     text NOT NULL CHECK (stream IN ('data', 'control')),
  log_offset bigint NOT NULL,
  time       timestamptz NOT NULL,
  key        bytea,
  header     bytea,
  value      bytea,
  PRIMARY KEY (part, number)
);
CREATE INDEX held_key ON {control}.held (part, key_hash, number);

CREATE TABLE {control}.parked (
  id         uuid PRIMARY KEY,
  part       int NOT NULL,
  key_hash   bytea NOT NULL,
  stream     text NOT NULL CHECK (stream IN ('data', 'control')),
  log_offset bigint NOT NULL,
  time       timestamptz NOT NULL,
  key        bytea,
  header     bytea,
  value      bytea,
  code       text NOT NULL,
  detail     text NOT NULL,
  attempts   int NOT NULL,
  parked_at  timestamptz NOT NULL,
  blocks     boolean NOT NULL
);
CREATE INDEX parked_part ON {control}.parked (part, key_hash) WHERE blocks;
CREATE INDEX parked_at ON {control}.parked (parked_at, id);
