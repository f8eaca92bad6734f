import type { DatabaseSync } from 'node:sqlite';
import { GatewayError } from '../../lib/errors.ts';
import { type ResidentRow, residentPut } from './resident-table.ts';

export interface ClientRow {
  readonly id: string;
  readonly name: string;
  /** SHA-256 of the token. */
  readonly hash: Uint8Array;
  /** JSON arrays. */
  readonly scopes: string;
  readonly rooms: string;
  readonly created_at: number;
  readonly expires_at: number | null;
  readonly revoked_at: number | null;
  /** `own` where it has addresses of its own on the mesh. */
  readonly identity: string;
}

export interface ClientJobs {
  /** Throws `request/conflict` if the name was ever used. Its addresses, where it has any, come with it or not at all. */
  'client.create': { args: ClientRow & { residents?: readonly ResidentRow[] }; result: undefined };
  /** Its addresses end with it, and their keys are forgotten: its name is never given to another. */
  'client.revoke': { args: { id: string; at: number; party: string }; result: undefined };
  /** Gives the client another token. */
  'client.rekey': { args: { id: string; hash: Uint8Array }; result: undefined };
}

export function clientVerbs(database: DatabaseSync) {
  const insert = database.prepare(
    `INSERT OR IGNORE INTO clients (id, name, hash, scopes, rooms, created_at, expires_at, revoked_at,
       identity)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const revoke = database.prepare('UPDATE clients SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL');
  const putResident = residentPut(database);
  const forgetResident = database.prepare('DELETE FROM residents WHERE party = ?');
  const rekey = database.prepare('UPDATE clients SET hash = ? WHERE id = ?');
  return {
    'client.create'(row: ClientJobs['client.create']['args']): undefined {
      const { changes } = insert.run(
        row.id,
        row.name,
        row.hash,
        row.scopes,
        row.rooms,
        row.created_at,
        row.expires_at,
        row.revoked_at,
        row.identity,
      );
      if (changes === 0) {
        throw new GatewayError('request/conflict', `the name ${row.name} was used before`);
      }
      for (const resident of row.residents ?? []) {
        putResident(resident);
      }
    },
    'client.revoke'({ id, at, party }: ClientJobs['client.revoke']['args']): undefined {
      revoke.run(at, id);
      forgetResident.run(party);
    },
    'client.rekey'({ id, hash }: ClientJobs['client.rekey']['args']): undefined {
      rekey.run(hash, id);
    },
  };
}

export function clientReads(database: DatabaseSync) {
  const all = database.prepare('SELECT * FROM clients ORDER BY created_at, name');
  return { clients: () => all.all() as unknown as ClientRow[] };
}
