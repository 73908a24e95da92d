-- What a batch does, on the server: PostgreSQL keeps the plans of statements inside a function for as long as a connection
-- lives, also behind a pooler that would forget prepared statements, and a batch is one call instead of a dozen statements
-- to read and plan. Sets travel as arrays, one for each column; element n of each belongs to row n.
-- This file is never edited once released: a change is a new file with the next number.

-- The rows of these guests, and of these conversations whoever owns them, locked in one order, so that two batches never
-- wait for each other.
CREATE FUNCTION guestbook_lock(in_guests text[], in_conversations text[])
RETURNS TABLE (id text, user_id text, platform text, title text, conversation_hash text, message_count bigint,
    total_tokens bigint, expires_at timestamptz, list_from bigint, list_expires_at timestamptz, has_user_message boolean)
LANGUAGE plpgsql ROWS 50 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT c.id, c.user_id, c.platform, c.title, c.conversation_hash, c.message_count, c.total_tokens,
            c.expires_at, c.list_from, c.list_expires_at,
            c.title NOT LIKE 'Guest Chat - %' OR EXISTS
                (SELECT FROM message_cache m WHERE m.conversation_id = c.id AND m.role = 'user')
        FROM conversation_cache c
        WHERE c.id IN (SELECT o.id FROM conversation_cache o WHERE o.user_id = ANY (in_guests) AND o.platform = 'guest'
            UNION ALL SELECT unnest(in_conversations))
        ORDER BY c.id FOR UPDATE OF c;
END $$;

-- Of these ids, the messages that are stored, with what a repeated answer says.
CREATE FUNCTION guestbook_find(in_ids text[])
RETURNS TABLE (id text, conversation_id text, sequence bigint, role text, message_hash text, is_synced boolean,
    state text, has_vector boolean, session_id text, list_from bigint, list_expires_at timestamptz)
LANGUAGE plpgsql ROWS 10 AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT m.id, m.conversation_id, m.sequence, m.role, m.message_hash, coalesce(p.is_synced, false),
            n.state, e.id IS NOT NULL, c.session_id, c.list_from, c.list_expires_at
        FROM message_cache m JOIN conversation_cache c ON c.id = m.conversation_id
            LEFT JOIN cache_content_mapping p ON p.id = m.id
            LEFT JOIN embedding_notes n ON n.message_id = m.id LEFT JOIN cache_embeddings e ON e.id = m.id
        WHERE m.id = ANY (in_ids);
END $$;

-- Notes what lists have durably: of each conversation the messages from `first` up to, not including, `next`, and, since a
-- list has no holes, everything before that was not noted yet. A conversation that has lapsed, been migrated or erased
-- meanwhile takes no mark, and a message that fell out of the window neither. The rows must be locked before.
CREATE FUNCTION guestbook_settle(in_conversations text[], in_first bigint[], in_next bigint[], in_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- OFFSET 0 keeps the order of the joins: first the conversation, then no more than the messages in question.
    UPDATE cache_content_mapping p SET is_synced = true, last_synced_at = in_at
    FROM unnest(in_conversations, in_first, in_next) AS done (conversation_id, first, next)
        CROSS JOIN LATERAL (SELECT c.id, greatest(c.list_from, least(c.list_synced, done.first)) AS low
            FROM conversation_cache c WHERE c.id = done.conversation_id AND c.list_expires_at IS NOT NULL
                AND c.message_count >= done.next OFFSET 0) listed
        CROSS JOIN LATERAL (SELECT m.id FROM message_cache m
            WHERE m.conversation_id = listed.id AND m.sequence >= listed.low AND m.sequence < done.next OFFSET 0) found
    WHERE p.id = found.id AND NOT p.is_synced;
    UPDATE conversation_cache c SET list_synced = done.next
    FROM (SELECT o.id, max(n.next) AS next FROM unnest(in_conversations, in_next) AS n (conversation_id, next)
            JOIN conversation_cache o ON o.id = n.conversation_id AND o.message_count >= n.next GROUP BY o.id) done
    WHERE c.id = done.id AND c.list_expires_at IS NOT NULL AND c.list_synced < done.next;
END $$;

-- Adds response times to the owners that have a row.
CREATE FUNCTION guestbook_ride(in_owners text[], in_requests bigint[], in_total_ms double precision[])
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage_metrics u SET timed_requests = u.timed_requests + t.requests,
        average_response_time_ms = (u.average_response_time_ms * u.timed_requests + t.total_ms)
            / (u.timed_requests + t.requests)
    FROM (SELECT owner, sum(requests)::bigint AS requests, sum(total_ms) AS total_ms
        FROM unnest(in_owners, in_requests, in_total_ms) AS one (owner, requests, total_ms) GROUP BY owner) t
    WHERE u.user_id = t.owner AND t.requests > 0;
END $$;

-- Steps 2 to 7 of a batch: everything but the hour, which is the caller's last statement. Answers the requests that each
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
    time_owners text[], time_requests bigint[], time_total_ms double precision[])
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
        created_at, updated_at)
    SELECT n.id, n.conversation_id, n.role, n.content, n.hash, n.tokens, n.sequence, n.metadata, n.sent_at, in_at, in_at
    FROM unnest(message_ids, message_conversations, message_roles, message_contents, message_hashes, message_tokens,
        message_sequences, message_metadata, message_sent_at)
        AS n (id, conversation_id, role, content, hash, tokens, sequence, metadata, sent_at);
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

-- Fails with GB001 unless these conversations are guests' and as they are thought to be: a node that was the last to write
-- them need not read them again. The rows must be locked before.
CREATE FUNCTION guestbook_expect(in_ids text[], in_hashes text[], in_messages bigint[], in_tokens bigint[],
    in_list_from bigint[], in_at timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(in_ids, in_hashes, in_messages, in_tokens, in_list_from)
                AS known (id, hash, messages, tokens, list_from)
            LEFT JOIN conversation_cache c ON c.id = known.id AND c.platform = 'guest'
                AND c.conversation_hash = known.hash AND c.message_count = known.messages
                AND c.total_tokens = known.tokens AND c.list_from = known.list_from AND c.list_expires_at IS NOT NULL
                AND (c.expires_at IS NULL OR c.expires_at > in_at)
            WHERE c.id IS NULL) THEN
        RAISE EXCEPTION 'a conversation has moved on' USING ERRCODE = 'GB001';
    END IF;
END $$;
