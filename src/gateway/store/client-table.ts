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
  /** The role its scopes come from. */
  readonly role: string | null;
  /** Goes up with every change of it, but not by being used. */
  readonly version: number;
  /** JSON array of `PreviousToken`. */
  readonly previous: string;
  readonly rotated_at: number | null;
  readonly used_at: number | null;
  readonly used_from: string | null;
}

/** What a client begins with. */
export type NewClientRow = Omit<ClientRow, 'version' | 'previous' | 'rotated_at' | 'used_at' | 'used_from'>;

/** A token that was replaced and is good until then. */
export interface PreviousToken {
  /** SHA-256, hex. */
  readonly hash: string;
  readonly until: number;
}

export interface ClientJobs {
  /** Throws `request/conflict` if the name was ever used. Its addresses, where it has any, come with it or not at all. */
  'client.create': { args: NewClientRow & { residents?: readonly ResidentRow[] }; result: undefined };
  /** Its addresses end with it, and their keys are forgotten: its name is never given to another. */
  'client.revoke': { args: { id: string; at: number; party: string }; result: undefined };
  /** Throws `request/conflict` where it is not of this version any more. */
  'client.change': {
    args: Pick<ClientRow, 'id' | 'version' | 'scopes' | 'rooms' | 'role' | 'expires_at'>;
    result: undefined;
  };
  /** Gives the client another token beside those that are still good. Throws as `client.change` does. */
  'client.rotate': {
    args: Pick<ClientRow, 'id' | 'version' | 'hash' | 'previous'> & { at: number };
    result: undefined;
  };
  /** When clients were last there. */
  'client.used': { args: { uses: readonly { id: string; at: number; from: string }[] }; result: undefined };
  /** Gives the client another token instead of all it had. */
  'client.rekey': { args: { id: string; hash: Uint8Array }; result: undefined };
}

export function clientVerbs(database: DatabaseSync) {
  const insert = database.prepare(
    `INSERT OR IGNORE INTO clients (id, name, hash, scopes, rooms, created_at, expires_at, revoked_at,
       identity, role)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  );
  const revoke = database.prepare(
    "UPDATE clients SET revoked_at = ?, previous = '[]', version = version + 1 WHERE id = ? AND revoked_at IS NULL",
  );
  const putResident = residentPut(database);
  const forgetResident = database.prepare('DELETE FROM residents WHERE party = ?');
  const rekey = database.prepare("UPDATE clients SET hash = ?, previous = '[]' WHERE id = ?");
  const change = database.prepare(
    `UPDATE clients SET scopes = ?, rooms = ?, role = ?, expires_at = ?, version = version + 1
     WHERE id = ? AND version = ? AND revoked_at IS NULL`,
  );
  const rotate = database.prepare(
    `UPDATE clients SET hash = ?, previous = ?, rotated_at = ?, version = version + 1
     WHERE id = ? AND version = ? AND revoked_at IS NULL`,
  );
  const use = database.prepare('UPDATE clients SET used_at = ?, used_from = ? WHERE id = ?');
  const expectOne = ({ changes }: { readonly changes: number | bigint }) => {
    if (Number(changes) === 0) {
      throw new GatewayError('request/conflict', 'the client was changed meanwhile');
    }
  };
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
        row.role,
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
    'client.change'(row: ClientJobs['client.change']['args']): undefined {
      expectOne(change.run(row.scopes, row.rooms, row.role, row.expires_at, row.id, row.version));
    },
    'client.rotate'(row: ClientJobs['client.rotate']['args']): undefined {
      expectOne(rotate.run(row.hash, row.previous, row.at, row.id, row.version));
    },
    'client.used'({ uses }: ClientJobs['client.used']['args']): undefined {
      for (const { id, at, from } of uses) {
        use.run(at, from, id);
      }
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
