import { openSideDatabase } from '../../gateway/store/side-database.ts';

/** A publish whose acknowledgement its client may not have: what it was, and the key it was accepted under. */
export interface Handshake {
  readonly hash: string;
  readonly key: string;
}

/** What the broker must know again after the process was killed. */
export interface Journal extends Disposable {
  /** Durable against a killed process when it returns. Throws `store/unavailable`. */
  remember(session: string, packetId: number, handshake: Handshake, at: number): void;
  recall(session: string, packetId: number): Handshake | undefined;
  /** The client has its acknowledgement of this publish, or of whatever last used the packet id. */
  forget(session: string, packetId: number, key?: string): void;
  /** The session has ended in good order. */
  forgetSession(session: string): void;
  /** Forgets what no client will come back for; for now and then. */
  purge(now: number): void;
  /** The last words of a topic; none for an empty payload. */
  retain(topic: string, payload: Uint8Array): void;
  retained(): readonly { readonly topic: string; readonly payload: Uint8Array }[];
}

/** A client that has not come back within this many ms does not resend what it had in flight. */
const handshakeLifetime = 24 * 60 * 60 * 1000;

/**
 * The journal in a SQLite file of its own. It is written without an fsync: losing its last rows to a power
 * cut costs a repeated message at most, because the messages themselves are in the gateway's database.
 * A damaged file is put aside, and an empty one begun.
 */
export function openJournal(file: string, now: number): Journal {
  const side = openSideDatabase({ file, schema, name: 'the journal of the broker', now });
  const { database, guarded } = side;
  const expire = database.prepare('DELETE FROM handshake WHERE at < ?');
  expire.run(now - handshakeLifetime);
  const put = database.prepare('INSERT OR REPLACE INTO handshake VALUES (?, ?, ?, ?, ?)');
  const get = database.prepare('SELECT hash, key FROM handshake WHERE session = ? AND packet = ?');
  const drop = database.prepare(
    'DELETE FROM handshake WHERE session = ?1 AND packet = ?2 AND (?3 IS NULL OR key = ?3)',
  );
  const dropAll = database.prepare('DELETE FROM handshake WHERE session = ?');
  const keep = database.prepare('INSERT OR REPLACE INTO retained VALUES (?, ?)');
  const clear = database.prepare('DELETE FROM retained WHERE topic = ?');
  const all = database.prepare('SELECT topic, payload FROM retained ORDER BY rowid');
  return {
    remember: (session, packetId, { hash, key }, at) =>
      void guarded(() => put.run(session, packetId, hash, key, at)),
    recall(session, packetId) {
      const row = guarded(() => get.get(session, packetId));
      return row === undefined ? undefined : { hash: String(row.hash), key: String(row.key) };
    },
    forget: (session, packetId, key) => void guarded(() => drop.run(session, packetId, key ?? null)),
    forgetSession: session => void guarded(() => dropAll.run(session)),
    purge: at => void guarded(() => expire.run(at - handshakeLifetime)),
    retain: (topic, payload) =>
      void guarded(() => (payload.length === 0 ? clear.run(topic) : keep.run(topic, payload))),
    retained: () =>
      guarded(() => all.all()).map(row => ({
        topic: String(row.topic),
        payload: row.payload as Uint8Array,
      })),
    [Symbol.dispose]: () => side[Symbol.dispose](),
  };
}

const schema = `
  CREATE TABLE IF NOT EXISTS handshake (
    session TEXT NOT NULL, packet INTEGER NOT NULL, hash TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (session, packet)
  ) WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS retained (topic TEXT NOT NULL UNIQUE, payload BLOB NOT NULL);
`;
