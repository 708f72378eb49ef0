CREATE OR REPLACE FUNCTION {control}.commit_batch({arguments}, OUT failed int[], OUT at timestamptz)
LANGUAGE plpgsql AS $commit$
#variable_conflict use_column
DECLARE
  began timestamptz := clock_timestamp();
  locked int;
BEGIN
  failed := '{}';

  -- The fence. Rows are locked in one order by everybody, so writers wait for each other but never in a circle.
  PERFORM 1
    FROM unnest(p_part, p_version) AS mine (part, version)
    JOIN {control}.partition p ON p.part = mine.part AND p.version = mine.version
    ORDER BY p.part FOR NO KEY UPDATE OF p;
  GET DIAGNOSTICS locked = ROW_COUNT;
  IF locked <> cardinality(p_part) THEN
    SELECT coalesce(array_agg(mine.part ORDER BY mine.part), p_part) INTO failed
      FROM unnest(p_part, p_version) AS mine (part, version)
      WHERE NOT EXISTS (
        SELECT 1 FROM {control}.partition p WHERE p.part = mine.part AND p.version = mine.version);
    at := clock_timestamp();
    RETURN;
  END IF;
  UPDATE {control}.partition p
    SET version = p.version + 1, next_data = mine.next_data, next_control = mine.next_control,
        out_seq = mine.out_seq, published_seq = mine.published_seq, held_next = mine.held_next,
        marks = coalesce(mine.marks, p.marks), last_numbers = coalesce(mine.last_numbers, p.last_numbers)
    FROM unnest(p_part, p_next_data, p_next_control, p_out_seq, p_published_seq, p_held_next, p_marks, p_last_numbers)
      AS mine (part, next_data, next_control, out_seq, published_seq, held_next, marks, last_numbers)
    WHERE p.part = mine.part;

  IF cardinality(s_key) > 0 THEN
    -- A saga's deadline moves on with each step. The row stays where it is in the index of times while that is still to come and not
    -- too late: it is then found too early once, and moved (load.rs).
    INSERT INTO {derived}.state AS s (key, sub, part, number, due, wake, status, body)
      SELECT key, sub, part, number, due, due, status, body
        FROM unnest(s_key, s_sub, s_part, s_number, s_due, s_status, s_body)
          AS put (key, sub, part, number, due, status, body)
      ON CONFLICT (key, sub) DO UPDATE
        SET number = excluded.number, due = excluded.due, status = excluded.status, body = excluded.body,
            wake = CASE WHEN s.wake <= excluded.due AND s.wake > began THEN s.wake ELSE excluded.due END;
  END IF;
  IF cardinality(d_key) > 0 THEN
    DELETE FROM {derived}.state s USING unnest(d_key, d_sub) AS gone (key, sub)
      WHERE s.key = gone.key AND s.sub = gone.sub;
  END IF;

  IF cardinality(o_part) > 0 THEN
    INSERT INTO {control}.outbox (part, first_seq, last_seq, messages, slot)
      SELECT batch.*, {outbox_slot} FROM unnest(o_part, o_first, o_last, o_messages) AS batch;
  END IF;

  IF cardinality(i_gone) > 0 THEN
    DELETE FROM {control}.intent WHERE id = ANY (i_gone);
  END IF;
  IF cardinality(i_id) > 0 THEN
    INSERT INTO {control}.intent AS i (id, part, key, request, reply, thread, created_at, status, attempts, code)
      SELECT id, part, key, request, reply::jsonb, thread::jsonb, created_at, status, attempts, code
        FROM unnest(i_id, i_part, i_key, i_request, i_reply, i_thread, i_created_at, i_status, i_attempts, i_code)
          AS put (id, part, key, request, reply, thread, created_at, status, attempts, code)
      ON CONFLICT (id) DO UPDATE
        SET request = excluded.request, reply = excluded.reply, thread = excluded.thread, created_at = excluded.created_at,
            status = excluded.status, attempts = excluded.attempts, code = excluded.code;
  END IF;

  IF cardinality(h_gone_part) > 0 THEN
    DELETE FROM {control}.held h USING unnest(h_gone_part, h_gone_number) AS gone (part, number)
      WHERE h.part = gone.part AND h.number = gone.number;
  END IF;
  IF cardinality(h_part) > 0 THEN
    INSERT INTO {control}.held (part, number, key_hash, stream, log_offset, time, key, header, value)
      SELECT part, number, sha256(coalesce(key, '')), stream, log_offset, time, key, header, value
        FROM unnest(h_part, h_number, h_stream, h_offset, h_time, h_key, h_header, h_value)
          AS put (part, number, stream, log_offset, time, key, header, value);
  END IF;

  IF cardinality(k_gone) > 0 THEN
    DELETE FROM {control}.parked WHERE id = ANY (k_gone);
  END IF;
  IF cardinality(k_id) > 0 THEN
    INSERT INTO {control}.parked AS k
        (id, part, key_hash, stream, log_offset, time, key, header, value, code, detail, attempts, parked_at, blocks)
      SELECT id, part, sha256(coalesce(key, '')), stream, log_offset, time, key, header, value,
             code, detail, attempts, parked_at, blocks
        FROM unnest(k_id, k_part, k_stream, k_offset, k_time, k_key, k_header, k_value,
                    k_code, k_detail, k_attempts, k_parked_at, k_blocks)
          AS put (id, part, stream, log_offset, time, key, header, value, code, detail, attempts, parked_at, blocks)
      ON CONFLICT (id) DO UPDATE
        SET code = excluded.code, detail = excluded.detail, attempts = excluded.attempts,
            parked_at = excluded.parked_at, blocks = excluded.blocks;
  END IF;

  IF cardinality(a_id) > 0 THEN
    -- The closing may come days later than the command: its row is then in another slot.
    WITH put AS (
      SELECT * FROM unnest(a_id, a_hash, a_type, a_body) AS put (id, request_hash, closing_type, closing_body)
    ), known AS (
      UPDATE {control}.applied a
        SET request_hash = coalesce(a.request_hash, put.request_hash),
            closing_type = coalesce(put.closing_type, a.closing_type),
            closing_body = coalesce(put.closing_body, a.closing_body)
        FROM put WHERE a.id = put.id RETURNING a.id
    )
    INSERT INTO {control}.applied (id, request_hash, closing_type, closing_body, slot)
      SELECT put.*, {applied_slot} FROM put WHERE put.id NOT IN (SELECT id FROM known);
  END IF;

  IF cardinality(y_key) > 0 THEN
    INSERT INTO {derived}.history (part, key, at, entry)
      SELECT part, key, at, entry::jsonb FROM unnest(y_part, y_key, y_at, y_entry) AS put (part, key, at, entry);
  END IF;
{tables}
  at := clock_timestamp();
END
$commit$;
