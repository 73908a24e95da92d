-- Ids that clients chose and that are not the message's own. By meaning as in schema/sqlite/003_external_ids.sql.
-- The functions of 002 stay for nodes of the version before, which may still be running.

ALTER TABLE message_cache ADD COLUMN external_id text COLLATE "C"; -- addition; NULL: the message's own id is the one to show

-- An id is its conversation's own. Messages without one are not in it and cost nothing.
CREATE UNIQUE INDEX message_external_id ON message_cache (conversation_id, external_id) WHERE external_id IS NOT NULL;

-- Of ids that guests sent, the messages that are stored under them: as their own id, whoever has it, and as the external id in
-- the guest's conversation and in those that the guest began and a user has now. `place` is the id's in the arrays, from 1.
CREATE FUNCTION guestbook_sent(in_guests text[], in_keys text[])
RETURNS TABLE (place bigint, id text, external_id text, conversation_id text, sequence bigint, role text,
    message_hash text, sent_at timestamptz, metadata text, is_synced boolean, state text, has_vector boolean,
    session_id text, list_from bigint, list_expires_at timestamptz)
LANGUAGE plpgsql ROWS 10 AS $$
#variable_conflict use_column
BEGIN
    -- OFFSET 0 keeps the order of the joins: an index lookup for each id, whatever the planner thinks of the arrays.
    RETURN QUERY SELECT sent.place, m.id, m.external_id, m.conversation_id, m.sequence, m.role, m.message_hash, m.sent_at,
            m.metadata, coalesce(p.is_synced, false), n.state, e.id IS NOT NULL, c.session_id, c.list_from,
            c.list_expires_at
        FROM unnest(in_guests, in_keys) WITH ORDINALITY AS sent (guest, key, place)
            CROSS JOIN LATERAL (SELECT k.* FROM message_cache k WHERE k.id = sent.key
                UNION ALL
                SELECT k.* FROM (SELECT o.id FROM conversation_cache o
                        WHERE o.user_id = sent.guest AND o.platform = 'guest'
                    UNION ALL
                    SELECT o.id FROM conversation_cache o
                        WHERE o.session_id = sent.guest AND o.platform = 'authenticated') owned
                    CROSS JOIN LATERAL (SELECT x.* FROM message_cache x
                        WHERE x.conversation_id = owned.id AND x.external_id = sent.key OFFSET 0) k
                OFFSET 0) m
            JOIN conversation_cache c ON c.id = m.conversation_id
            LEFT JOIN cache_content_mapping p ON p.id = m.id
            LEFT JOIN embedding_notes n ON n.message_id = m.id LEFT JOIN cache_embeddings e ON e.id = m.id;
END $$;

-- Fails with GB001 where a guest has sent any of these ids before: who takes them for new must look first.
CREATE FUNCTION guestbook_expect_unsent(in_guests text[], in_keys text[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM guestbook_sent(in_guests, in_keys) found WHERE found.session_id = in_guests[found.place]) THEN
        RAISE EXCEPTION 'an id has been sent before' USING ERRCODE = 'GB001';
    END IF;
END $$;

-- As in 002, with the external ids of the messages. Steps 2 to 7 of a batch: everything but the hour, which is the caller's
-- last statement. Answers the requests that each
-- owner has now, by which it is seen whose row is new. Rows of conversations that were there must be locked before.
CREATE FUNCTION guestbook_record(
    in_at timestamptz, in_expires_at timestamptz, in_cache_backend text, in_model text,
    begun_ids text[], begun_guests text[], begun_titles text[], begun_hashes text[], begun_messages bigint[],
    begun_tokens bigint[], begun_list_from bigint[], begun_list_expires_at timestamptz[],
    grown_ids text[], grown_titles text[], grown_hashes text[], grown_messages bigint[], grown_tokens bigint[],
    grown_list_from bigint[], grown_list_expires_at timestamptz[],
    lapsed_ids text[], lapsed_below bigint[],
    message_ids text[], message_conversations text[], message_guests text[], message_roles text[],
    message_contents text[], message_hashes text[], message_tokens bigint[], message_sequences bigint[],
    message_metadata text[], message_sent_at timestamptz[],
    vector_ids text[], vector_conversations text[], vector_bytes bytea[],
    note_ids text[], note_states text[], note_attempts bigint[], note_causes text[],
    usage_ids text[], usage_owners text[], usage_requests bigint[], usage_input bigint[], usage_output bigint[],
    time_owners text[], time_requests bigint[], time_total_ms double precision[], message_external_ids text[])
RETURNS TABLE (owner text, requests bigint) LANGUAGE plpgsql ROWS 50 AS $$
BEGIN
    IF cardinality(begun_ids) > 0 THEN
        INSERT INTO conversation_cache (id, user_id, session_id, title, conversation_hash, message_count, total_tokens,
            platform, created_at, accessed_at, expires_at, list_from, list_synced, list_expires_at)
        SELECT n.id, n.guest, n.guest, n.title, n.hash, n.messages, n.tokens, 'guest', in_at, in_at, in_expires_at,
            n.list_from, 0, n.list_expires_at
        FROM unnest(begun_ids, begun_guests, begun_titles, begun_hashes, begun_messages, begun_tokens, begun_list_from,
            begun_list_expires_at) AS n (id, guest, title, hash, messages, tokens, list_from, list_expires_at);
    END IF;
    IF cardinality(lapsed_ids) > 0 THEN
        -- Before list_from moves on: what is below it has been taken back before.
        UPDATE cache_content_mapping p SET is_synced = false
        FROM unnest(lapsed_ids, lapsed_below) AS lapsed (conversation_id, below)
            JOIN conversation_cache c ON c.id = lapsed.conversation_id
            JOIN message_cache m ON m.conversation_id = c.id AND m.sequence >= c.list_from AND m.sequence < lapsed.below
        WHERE p.id = m.id AND p.is_synced;
    END IF;
    IF cardinality(grown_ids) > 0 THEN
        UPDATE conversation_cache c SET title = n.title, conversation_hash = n.hash, message_count = n.messages,
            total_tokens = n.tokens, accessed_at = in_at, expires_at = in_expires_at, list_from = n.list_from,
            list_expires_at = n.list_expires_at
        FROM unnest(grown_ids, grown_titles, grown_hashes, grown_messages, grown_tokens, grown_list_from,
            grown_list_expires_at) AS n (id, title, hash, messages, tokens, list_from, list_expires_at)
        WHERE c.id = n.id;
    END IF;
    INSERT INTO message_cache (id, conversation_id, role, content, message_hash, tokens, sequence, metadata, sent_at,
        created_at, updated_at, external_id)
    SELECT n.id, n.conversation_id, n.role, n.content, n.hash, n.tokens, n.sequence, n.metadata, n.sent_at, in_at, in_at,
        n.external_id
    FROM unnest(message_ids, message_conversations, message_roles, message_contents, message_hashes, message_tokens,
        message_sequences, message_metadata, message_sent_at, message_external_ids)
        AS n (id, conversation_id, role, content, hash, tokens, sequence, metadata, sent_at, external_id);
    INSERT INTO cache_content_mapping (id, cache_type, cache_id, user_id, cache_backend, content_backend, is_synced,
        created_at)
    SELECT n.id, 'message', n.id, n.guest, in_cache_backend, 'postgresql', false, in_at
    FROM unnest(message_ids, message_guests) AS n (id, guest);
    IF cardinality(vector_ids) > 0 THEN
        INSERT INTO cache_embeddings (id, conversation_id, message_id, embedding, embedding_model, embedding_dim, created_at)
        SELECT n.id, n.conversation_id, n.id, n.bytes, in_model, length(n.bytes), in_at
        FROM unnest(vector_ids, vector_conversations, vector_bytes) AS n (id, conversation_id, bytes);
    END IF;
    IF cardinality(note_ids) > 0 THEN
        INSERT INTO embedding_notes (message_id, state, model, attempts, cause, updated_at)
        SELECT n.id, n.state, in_model, n.attempts, n.cause, in_at
        FROM unnest(note_ids, note_states, note_attempts, note_causes) AS n (id, state, attempts, cause);
    END IF;
    IF cardinality(time_owners) > 0 THEN
        PERFORM u.user_id FROM usage_metrics u WHERE u.user_id = ANY (time_owners || usage_owners)
        ORDER BY u.user_id FOR UPDATE; -- in one order, before any of them is changed
        PERFORM guestbook_ride(time_owners, time_requests, time_total_ms);
    END IF;
    -- A POST counts one request and one miss per message. The month's counter starts anew with the UTC month.
    RETURN QUERY INSERT INTO usage_metrics AS u (id, user_id, total_requests, cache_hits, cache_misses, total_input_tokens,
            total_output_tokens, total_tokens, tier, monthly_requests_used, created_at, updated_at)
        SELECT n.id, n.owner, n.requests, 0, n.requests, n.input, n.output, n.input + n.output, 'guest', n.requests, in_at,
            in_at
        FROM unnest(usage_ids, usage_owners, usage_requests, usage_input, usage_output)
            AS n (id, owner, requests, input, output)
        ON CONFLICT (user_id) DO UPDATE SET total_requests = u.total_requests + excluded.total_requests,
            cache_misses = u.cache_misses + excluded.cache_misses,
            total_input_tokens = u.total_input_tokens + excluded.total_input_tokens,
            total_output_tokens = u.total_output_tokens + excluded.total_output_tokens,
            total_tokens = u.total_tokens + excluded.total_tokens,
            cache_hit_rate = u.cache_hits::float8 / (u.cache_hits + u.cache_misses + excluded.cache_misses),
            monthly_requests_used = excluded.monthly_requests_used + CASE
                WHEN date_trunc('month', u.updated_at AT TIME ZONE 'UTC') = date_trunc('month', in_at AT TIME ZONE 'UTC')
                THEN u.monthly_requests_used ELSE 0 END,
            updated_at = in_at
        RETURNING u.user_id, u.total_requests;
END $$;
