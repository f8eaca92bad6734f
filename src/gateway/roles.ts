import type { Scope } from './desk.ts';

/** Bundles of scopes by what somebody is to the hub. A client keeps the scopes it was given with its role. */
export const roles = {
  /** Reads what comes for it. */
  reader: ['messages:read', 'peers:read'],
  /** Sends and reads nothing: a script, a button. */
  sender: ['messages:send'],
  /** A person's program. */
  member: ['messages:read', 'messages:send', 'peers:read'],
  /** A device on the broker, which speaks for itself alone. */
  sensor: ['mqtt'],
  /** Looks after the hub, and cannot give rights to anybody. */
  operator: ['messages:read', 'messages:send', 'peers:read', 'rooms:write', 'mesh:read', 'mqtt', 'metrics'],
  /** Everything, all messages. */
  owner: ['admin'],
} as const satisfies Readonly<Record<string, readonly Scope[]>>;

export type Role = keyof typeof roles;

export const roleNames = Object.keys(roles) as [Role, ...Role[]];
