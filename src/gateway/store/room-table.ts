import type { DatabaseSync } from 'node:sqlite';
import type { RoomChange } from '../room-overlay.ts';
import type { RouteRule } from '../route-rule.ts';
import { type EventDraft, eventWriter } from './event-table.ts';
import { type ResidentRow, residentPut } from './resident-table.ts';

/** What was changed of a room while the hub ran; null where nothing is any more. */
export interface RoomRow {
  readonly name: string;
  readonly change: RoomChange | null;
}

/** A rule made while the hub ran, or whether one of the configuration is in use; null where it is forgotten. */
export interface RouteRow {
  readonly id: string;
  readonly body: RouteRule | { readonly enabled: boolean } | null;
}

export interface RoomJobs {
  /** Changes of rooms with their events, and the addresses of rooms that are made with them. */
  'rooms.put': {
    args: {
      rooms: readonly RoomRow[];
      events: readonly EventDraft[];
      residents?: readonly ResidentRow[];
    };
    result: undefined;
  };
  'routes.put': { args: { routes: readonly RouteRow[]; events: readonly EventDraft[] }; result: undefined };
}

export function roomVerbs(database: DatabaseSync) {
  const putRoom = database.prepare('INSERT OR REPLACE INTO rooms (name, change) VALUES (?, ?)');
  const forgetRoom = database.prepare('DELETE FROM rooms WHERE name = ?');
  const putRoute = database.prepare(
    'INSERT INTO routes (id, body) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET body = excluded.body',
  );
  const forgetRoute = database.prepare('DELETE FROM routes WHERE id = ?');
  const putResident = residentPut(database);
  const write = eventWriter(database);
  return {
    'rooms.put'({ rooms, events, residents = [] }: RoomJobs['rooms.put']['args']): undefined {
      for (const { name, change } of rooms) {
        if (change === null) {
          forgetRoom.run(name);
        } else {
          putRoom.run(name, JSON.stringify(change));
        }
      }
      for (const row of residents) {
        putResident(row);
      }
      for (const event of events) {
        write(event);
      }
    },
    'routes.put'({ routes, events }: RoomJobs['routes.put']['args']): undefined {
      for (const { id, body } of routes) {
        if (body === null) {
          forgetRoute.run(id);
        } else {
          putRoute.run(id, JSON.stringify(body));
        }
      }
      for (const event of events) {
        write(event);
      }
    },
  };
}

export function roomReads(database: DatabaseSync) {
  const rooms = database.prepare('SELECT name, change FROM rooms ORDER BY name');
  const routes = database.prepare('SELECT id, body FROM routes ORDER BY seq');
  const waiting = database.prepare(
    `SELECT d.id, d.recipient FROM deliveries d JOIN messages m ON m.seq = d.message
     WHERE (d.state IN ('queued', 'sending') OR d.underway = 1) AND d.bridge <> 'app' AND m.recipient = ?`,
  );
  const open = database.prepare(
    `SELECT d.id, d.recipient, m.id AS message, m.recipient AS "to" FROM deliveries d
     JOIN messages m ON m.seq = d.message
     WHERE (d.state IN ('queued', 'sending') OR d.underway = 1) AND d.bridge <> 'app' ORDER BY d.seq`,
  );
  const latest = database.prepare(
    `SELECT d.id, d.recipient, d.state, d.reason, d.code, d.history, m.id AS message
     FROM (SELECT seq, id FROM messages WHERE recipient = ? ORDER BY seq DESC LIMIT ?) m
     JOIN deliveries d ON d.message = m.seq ORDER BY d.seq DESC`,
  );
  return {
    roomChanges: () =>
      (rooms.all() as { name: string; change: string }[]).map(row => ({
        name: row.name,
        change: JSON.parse(row.change) as RoomChange,
      })),
    routeRows: () =>
      (routes.all() as { id: string; body: string }[]).map(row => ({
        id: row.id,
        body: JSON.parse(row.body) as NonNullable<RouteRow['body']>,
      })),
    /** Deliveries of what was said to an address that are not over. */
    waitingOf: (to: string) => waiting.all(to) as unknown as { id: string; recipient: string }[],
    /** All deliveries to far sides that are not over, with where their messages are to. */
    waiting: () => open.all() as unknown as { id: string; recipient: string; message: string; to: string }[],
    /** Deliveries of the newest messages to an address, newest first. */
    latestDeliveries: (to: string, messages: number) =>
      latest.all(to, messages) as unknown as {
        id: string;
        recipient: string;
        state: string;
        reason: string | null;
        code: string | null;
        history: string;
        message: string;
      }[],
  };
}
