import type { DatabaseSync } from 'node:sqlite';

/** An address that a local party has on a mesh. */
export interface ResidentRow {
  readonly address: string;
  /** Whose it is. */
  readonly party: string;
  readonly bridge: string;
  readonly name: string;
  /** The private key behind it, as its bridge writes it: never shown and never logged. */
  readonly key: Uint8Array;
  readonly since: number;
  readonly ended_at: number | null;
}

export interface ResidentJobs {
  /** Adds them or replaces what was there; of those that ended only the `remembered` latest are kept. */
  'residents.put': { args: { rows: readonly ResidentRow[]; remembered: number }; result: undefined };
}

export function residentPut(database: DatabaseSync) {
  const put = database.prepare(
    `INSERT INTO residents (address, party, bridge, name, key, since, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (address) DO UPDATE SET name = excluded.name, ended_at = excluded.ended_at`,
  );
  // A party has one address on a mesh: one that was given up and forgotten elsewhere makes room.
  const replace = database.prepare('DELETE FROM residents WHERE party = ? AND bridge = ? AND address <> ?');
  return ({ address, party, bridge, name, key, since, ended_at }: ResidentRow): void => {
    replace.run(party, bridge, address);
    put.run(address, party, bridge, name, key, since, ended_at);
  };
}

export function residentVerbs(database: DatabaseSync) {
  const put = residentPut(database);
  const forget = database.prepare(
    `DELETE FROM residents WHERE address IN (SELECT address FROM residents WHERE ended_at IS NOT NULL
       ORDER BY ended_at DESC, address LIMIT -1 OFFSET ?)`,
  );
  return {
    'residents.put'({ rows, remembered }: ResidentJobs['residents.put']['args']): undefined {
      for (const row of rows) {
        put(row);
      }
      forget.run(remembered);
    },
  };
}

export function residentReads(database: DatabaseSync) {
  const all = database.prepare('SELECT * FROM residents ORDER BY since, address');
  return { residents: () => all.all() as unknown as ResidentRow[] };
}
