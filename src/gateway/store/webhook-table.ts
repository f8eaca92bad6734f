import type { DatabaseSync } from 'node:sqlite';

/** An endpoint that is told of events, and how far it has been told. */
export interface WebhookRow {
  readonly id: string;
  /** The id of the client it belongs to. */
  readonly client: string;
  readonly created_at: number;
  /** JSON: what its owner set. */
  readonly settings: string;
  /** JSON: the secrets it signs with, the newest first. Never shown and never logged. */
  readonly secrets: string;
  /** The cursor of the last event that it is done with. */
  readonly position: string;
  /** JSON: what became of its attempts. */
  readonly status: string;
}

export interface WebhookJobs {
  'webhook.add': { args: WebhookRow; result: undefined };
  /** Replaces what is there; one that is gone stays so. */
  'webhook.put': { args: WebhookRow; result: undefined };
  /** How far it has been told, and how that went. */
  'webhook.move': { args: Pick<WebhookRow, 'id' | 'position' | 'status'>; result: undefined };
  'webhook.remove': { args: { ids: readonly string[] }; result: undefined };
}

export function webhookVerbs(database: DatabaseSync) {
  const add = database.prepare(
    `INSERT INTO webhooks (id, client, created_at, settings, secrets, position, status)
     VALUES (?, ?, ?, ?, ?, ?, ?)`,
  );
  const put = database.prepare(
    'UPDATE webhooks SET settings = ?, secrets = ?, position = ?, status = ? WHERE id = ?',
  );
  const move = database.prepare('UPDATE webhooks SET position = ?, status = ? WHERE id = ?');
  const remove = database.prepare('DELETE FROM webhooks WHERE id = ?');
  return {
    'webhook.add'(row: WebhookRow): undefined {
      const { id, client, created_at, settings, secrets, position, status } = row;
      add.run(id, client, created_at, settings, secrets, position, status);
    },
    'webhook.put'({ id, settings, secrets, position, status }: WebhookRow): undefined {
      put.run(settings, secrets, position, status, id);
    },
    'webhook.move'({ id, position, status }: WebhookJobs['webhook.move']['args']): undefined {
      move.run(position, status, id);
    },
    'webhook.remove'({ ids }: WebhookJobs['webhook.remove']['args']): undefined {
      for (const id of ids) {
        remove.run(id);
      }
    },
  };
}

export function webhookReads(database: DatabaseSync) {
  const all = database.prepare('SELECT * FROM webhooks ORDER BY created_at, id');
  return { webhooks: () => all.all() as unknown as WebhookRow[] };
}
