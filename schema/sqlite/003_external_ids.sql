-- Ids that clients chose and that are not the message's own: any text, and UUIDs that another conversation holds.

ALTER TABLE message_cache ADD COLUMN external_id TEXT; -- addition; NULL: the message's own id is the one to show

-- An id is its conversation's own. Messages without one are not in it and cost nothing.
CREATE UNIQUE INDEX message_external_id ON message_cache (conversation_id, external_id) WHERE external_id IS NOT NULL;
