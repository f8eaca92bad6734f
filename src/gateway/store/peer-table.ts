import type { DatabaseSync } from 'node:sqlite';
import { type EventDraft, eventWriter } from './event-table.ts';

export interface PeerRow {
  readonly address: string;
  readonly name: string | null;
  readonly last_seen: number;
  readonly hops: number | null;
  /** Its standing: see `standings`. */
  readonly kept: number;
  /** JSON. */
  readonly avatar: string | null;
}

export interface PeerJobs {
  /** What was heard lately, with the events it is worth, and who is forgotten for it. */
  'peers.seen': {
    args: { peers: readonly PeerRow[]; forgotten: readonly string[]; events: readonly EventDraft[] };
    result: undefined;
  };
}

export function peerVerbs(database: DatabaseSync) {
  const put = database.prepare(
    'INSERT OR REPLACE INTO peers (address, name, last_seen, hops, kept, avatar) VALUES (?, ?, ?, ?, ?, ?)',
  );
  const remove = database.prepare('DELETE FROM peers WHERE address = ?');
  const write = eventWriter(database);
  return {
    'peers.seen'({ peers, forgotten, events }: PeerJobs['peers.seen']['args']): undefined {
      for (const peer of peers) {
        put.run(peer.address, peer.name, peer.last_seen, peer.hops, peer.kept, peer.avatar);
      }
      for (const address of forgotten) {
        remove.run(address);
      }
      for (const event of events) {
        write(event);
      }
    },
  };
}

export function peerReads(database: DatabaseSync) {
  const all = database.prepare('SELECT * FROM peers');
  return { peers: () => all.all() as unknown as PeerRow[] };
}
