import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Rewound, restoredSince, rewind, rewindWrites } from '../../gateway/store/rewound.ts';
import { gatewaySchema, meshSchema, outboxSchema } from '../../gateway/store/schema.ts';
import { GatewayError } from '../../lib/errors.ts';

/*
 * What must be changed in the databases of a backup before they are used again, so that the hub says nothing that it cannot know: its
 * state is that of the day of the backup, and the world has gone on since.
 */

export interface MarkOptions {
  /** The folder of the databases, which nobody has open. */
  readonly dir: string;
  /** ms epoch of the backup, and of now. */
  readonly at: number;
  readonly now: number;
  /** Send again what waited, instead of asking. */
  readonly resend: boolean;
}

export interface Marked extends Rewound {
  /** Writes for cloud services that are looked at before they are sent. */
  readonly writes: number;
}

/** Known schemas; a file without one here is opened by its bridge, which checks it by itself. */
const schemas: Readonly<Record<string, number>> = {
  'gateway.db': gatewaySchema.length,
  'mesh.db': meshSchema.length,
  'replica-outbox.db': outboxSchema.length,
};

/** Looks through a database of a backup. Throws `store/unavailable` where it is not whole, or of a newer version. */
export function inspect(dir: string, name: string): void {
  using database = open(dir, name);
  const found = database.prepare('PRAGMA integrity_check(1)').get()?.integrity_check;
  if (found !== 'ok') {
    throw new GatewayError('store/unavailable', `${name} in the backup is damaged: ${found}`);
  }
  const version = Number(database.prepare('PRAGMA user_version').get()?.user_version);
  if (version > (schemas[name] ?? Number.POSITIVE_INFINITY)) {
    throw new GatewayError(
      'store/unavailable',
      `${name} in the backup was written by a newer version of this program`,
    );
  }
}

/** Makes the changes. */
export function mark(options: MarkOptions): Marked {
  const { dir } = options;
  const counts = markDeliveries(options);
  const writes = existsSync(join(dir, 'replica-outbox.db')) ? markWrites(options) : 0;
  if (existsSync(join(dir, 'mqtt.db'))) {
    // A client uses its packet ids again: what it says under one now is not what it said then.
    using database = open(dir, 'mqtt.db');
    database.exec('DELETE FROM handshake');
  }
  return { ...counts, writes };
}

function markDeliveries({ dir, at, now, resend }: MarkOptions): Rewound {
  using database = open(dir, 'gateway.db');
  const day = new Date(at).toISOString().slice(0, 16).replace('T', ' ');
  return rewind(database, { since: `${restoredSince} of ${day} UTC`, now, resend });
}

function markWrites({ dir, at, now }: MarkOptions): number {
  using database = open(dir, 'replica-outbox.db');
  return rewindWrites(database, { at, now, reason: `${restoredSince}: it may have been sent since` });
}

function open(dir: string, name: string): DatabaseSync {
  try {
    const database = new DatabaseSync(join(dir, name));
    database.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY');
    return database;
  } catch (cause) {
    throw new GatewayError(
      'store/unavailable',
      `${name} in the backup is no database: ${(cause as Error).message}`,
      {
        cause,
      },
    );
  }
}
