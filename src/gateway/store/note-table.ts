import type { DatabaseSync } from 'node:sqlite';

/** What the owner says of a peer, and what it has said of being written to. */
export interface NoteRow {
  readonly address: string;
  readonly alias: string | null;
  readonly trust: string | null;
  readonly consent: string | null;
}

/** An address, or a pattern of them, that nothing is taken from and nothing goes to. */
export interface BlockRow {
  readonly pattern: string;
  readonly reason: string | null;
  readonly since: number;
}

export interface NoteJobs {
  /** Notes and blocks; what says nothing any more is forgotten. */
  'peers.note': {
    args: {
      notes?: readonly NoteRow[];
      blocks?: readonly BlockRow[];
      unblocked?: readonly string[];
    };
    result: undefined;
  };
}

export function noteVerbs(database: DatabaseSync) {
  const put = database.prepare(
    'INSERT OR REPLACE INTO peer_notes (address, alias, trust, consent) VALUES (?, ?, ?, ?)',
  );
  const forget = database.prepare('DELETE FROM peer_notes WHERE address = ?');
  const block = database.prepare('INSERT OR REPLACE INTO blocks (pattern, reason, since) VALUES (?, ?, ?)');
  const unblock = database.prepare('DELETE FROM blocks WHERE pattern = ?');
  return {
    'peers.note'({ notes, blocks, unblocked }: NoteJobs['peers.note']['args']): undefined {
      for (const { address, alias, trust, consent } of notes ?? []) {
        if (alias === null && trust === null && consent === null) {
          forget.run(address);
        } else {
          put.run(address, alias, trust, consent);
        }
      }
      for (const { pattern, reason, since } of blocks ?? []) {
        block.run(pattern, reason, since);
      }
      for (const pattern of unblocked ?? []) {
        unblock.run(pattern);
      }
    },
  };
}

export function noteReads(database: DatabaseSync) {
  const notes = database.prepare('SELECT * FROM peer_notes ORDER BY address');
  const blocks = database.prepare('SELECT * FROM blocks ORDER BY pattern');
  return {
    peerNotes: () => notes.all() as unknown as NoteRow[],
    blocks: () => blocks.all() as unknown as BlockRow[],
  };
}
