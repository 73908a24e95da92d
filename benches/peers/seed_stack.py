"""What Guestbook replaces, as a peer to measure against: FastAPI + SQLAlchemy/psycopg2 + redis-py.

One POST does what the old service did: the Redis list with its expiry, then
conversation, message, embedding, usage, mapping and metrics rows in PostgreSQL. The embedding service is a
local stub (a fixed-cost hash vector of 256 floats), so that the peer is not charged for a network model.

Run: SEED_PG=postgresql://... SEED_REDIS=redis://... uvicorn seed_stack:app --workers 2
"""
import datetime as dt
import hashlib
import json
import os
import uuid

import redis
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import (Boolean, Column, DateTime, Float, ForeignKey, Index, Integer, String, Text,
                        create_engine)
from sqlalchemy.orm import Session, declarative_base, sessionmaker

engine = create_engine(os.environ["SEED_PG"], pool_size=20, max_overflow=40)
SessionLocal = sessionmaker(bind=engine)
cache = redis.from_url(os.environ["SEED_REDIS"], decode_responses=True)
Base = declarative_base()
now = lambda: dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)
new_id = lambda: str(uuid.uuid4())


class Conversation(Base):
    __tablename__ = "conversation_cache"
    id = Column(String(36), primary_key=True, default=new_id)
    user_id = Column(String(36), index=True)
    session_id = Column(String(36), index=True, nullable=False)
    title = Column(String(255))
    conversation_hash = Column(String(64), index=True, nullable=False)
    message_count = Column(Integer, default=0)
    platform = Column(String(50))
    created_at = Column(DateTime, default=now, index=True)


class Message(Base):
    __tablename__ = "message_cache"
    id = Column(String(36), primary_key=True, default=new_id)
    conversation_id = Column(String(36), ForeignKey("conversation_cache.id"), index=True, nullable=False)
    role = Column(String(20), nullable=False)
    content = Column(Text, nullable=False)
    message_hash = Column(String(64), index=True, nullable=False)
    tokens = Column(Integer, default=0)
    sequence = Column(Integer, nullable=False)
    created_at = Column(DateTime, default=now, index=True)
    __table_args__ = (Index("idx_conv_seq", "conversation_id", "sequence"),)


class Embedding(Base):
    __tablename__ = "cache_embeddings"
    id = Column(String(36), primary_key=True, default=new_id)
    conversation_id = Column(String(36), ForeignKey("conversation_cache.id"), index=True, nullable=False)
    message_id = Column(String(36))
    embedding = Column(Text, nullable=False)
    embedding_model = Column(String(100))
    embedding_dim = Column(Integer)
    text_chunk = Column(Text, nullable=False)
    chunk_index = Column(Integer, default=0)
    created_at = Column(DateTime, default=now, index=True)


class Usage(Base):
    __tablename__ = "usage_metrics"
    id = Column(String(36), primary_key=True, default=new_id)
    user_id = Column(String(36), unique=True, index=True)
    total_requests = Column(Integer, default=0)
    cache_hits = Column(Integer, default=0)
    cache_misses = Column(Integer, default=0)
    tier = Column(String(20), default="free")


class Mapping(Base):
    __tablename__ = "cache_content_mapping"
    id = Column(String(36), primary_key=True, default=new_id)
    cache_type = Column(String(50), index=True, nullable=False)
    cache_id = Column(String(36), index=True, nullable=False)
    user_id = Column(String(36), index=True)
    is_synced = Column(Boolean, default=False)
    created_at = Column(DateTime, default=now)


class Metrics(Base):
    __tablename__ = "cache_metrics"
    id = Column(String(36), primary_key=True, default=new_id)
    cache_hits = Column(Integer, default=0)
    cache_misses = Column(Integer, default=0)
    total_requests = Column(Integer, default=0)
    avg_response_time = Column(Float, default=0.0)
    recorded_at = Column(DateTime, default=now, index=True)


class ChatMessage(BaseModel):
    role: str
    content: str
    timestamp: str


def embed(text: str) -> list[float]:
    raw = hashlib.shake_256(text.encode()).digest(256)
    return [(b - 127.5) / 127.5 for b in raw]


app = FastAPI()


@app.on_event("startup")
def create():
    with engine.begin() as c:
        c.exec_driver_sql("select pg_advisory_lock(7)")
        Base.metadata.create_all(c)


@app.post("/v1/guest/chat/{guest_id}")
def save(guest_id: str, message: ChatMessage):
    db: Session = SessionLocal()
    try:
        key = f"guest:{guest_id}"
        cache.rpush(key, json.dumps(message.model_dump()))
        cache.expire(key, 86400)
        conv = db.query(Conversation).filter_by(user_id=guest_id, platform="guest").first()
        if not conv:
            conv = Conversation(user_id=guest_id, session_id=guest_id, title=f"Guest Chat - {guest_id}",
                                conversation_hash=hashlib.sha256(guest_id.encode()).hexdigest(),
                                message_count=0, platform="guest")
            db.add(conv)
            db.flush()
        seq = conv.message_count
        msg = Message(id=new_id(), conversation_id=conv.id, role=message.role, content=message.content,
                      message_hash=hashlib.md5(message.content.encode()).hexdigest(),
                      tokens=len(message.content.split()), sequence=seq)
        db.add(msg)
        conv.message_count += 1
        db.commit()
        vector = embed(message.content)
        db.add(Embedding(conversation_id=conv.id, message_id=msg.id, embedding=json.dumps(vector),
                         embedding_model="stub", embedding_dim=len(vector), text_chunk=message.content,
                         chunk_index=seq))
        db.commit()
        usage = db.query(Usage).filter_by(user_id=guest_id).first()
        if not usage:
            db.add(Usage(user_id=guest_id, tier="guest", total_requests=1, cache_misses=1))
        else:
            usage.total_requests += 1
            usage.cache_misses += 1
        db.commit()
        db.add(Mapping(cache_type="message", cache_id=msg.id, user_id=guest_id, is_synced=True))
        db.commit()
        latest = db.query(Metrics).order_by(Metrics.recorded_at.desc()).first()
        if latest and (now() - latest.recorded_at).total_seconds() < 3600:
            latest.cache_misses += 1
            latest.total_requests += 1
        else:
            db.add(Metrics(cache_misses=1, total_requests=1))
        db.commit()
        return {"status": "saved", "guest_id": guest_id, "message_id": msg.id, "conversation_id": conv.id,
                "stored_in": ["redis", "postgresql"]}
    except Exception as e:
        db.rollback()
        raise HTTPException(500, f"Failed to save message: {e}")
    finally:
        db.close()


@app.get("/v1/guest/chat/{guest_id}")
def history(guest_id: str):
    db: Session = SessionLocal()
    try:
        conv = db.query(Conversation).filter_by(user_id=guest_id, platform="guest").first()
        if conv:
            rows = db.query(Message).filter_by(conversation_id=conv.id).order_by(Message.sequence).all()
            return [{"role": m.role, "content": m.content, "timestamp": m.created_at.isoformat()} for m in rows]
        return [json.loads(m) for m in cache.lrange(f"guest:{guest_id}", 0, -1)]
    finally:
        db.close()
