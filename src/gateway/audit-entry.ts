/** How somebody came to the hub: with a token, as a browser that is logged in, over the control socket, by another window; or the hub itself. */
export const doors = ['token', 'page', 'control', 'mqtt', 'websocket', 'hub'] as const;
export type Door = (typeof doors)[number];

/** Who did what to what, from where, and what came of it. Never a body, never a secret. */
export interface AuditEntry {
  /** `app:<name>` of the client, `hub`, or empty where nobody knows who it was. */
  readonly actor: string;
  readonly door: Door;
  /** The address it came from; empty over the control socket. */
  readonly from: string;
  /** Dotted, such as `tokens.create`; or the id of the operation. */
  readonly action: string;
  /** What it was done to: a name or an id of ours. */
  readonly target?: string;
  /** Names of the members that were changed, without what they were set to. */
  readonly keys?: readonly string[];
  /** As HTTP has it; also for what came another way. */
  readonly status: number;
  /** Why it was refused or failed. */
  readonly code?: string;
}

/** A line of the audit log. */
export interface AuditView extends AuditEntry {
  /** The cursor of the line. */
  readonly id: string;
  readonly at: number;
  /** How often it happened since the line before it that says the same: refusals are put together. */
  readonly count: number;
}

/** Narrows what is listed. */
export interface AuditQuery {
  readonly after?: string;
  readonly limit?: number;
  readonly actor?: string;
  /** An action, or its first parts: `tokens` is every `tokens.…`. */
  readonly action?: string;
}

/** What was done to the hub itself, kept for its owner. */
export interface Audit {
  /** Resolves when the line is on disk. Never rejects: a line that cannot be written is in the log and counted. */
  record(entry: AuditEntry): Promise<void>;
  /** Something was refused or failed: the first of a kind is written at once, what follows within a minute as one line. */
  refused(entry: AuditEntry): void;
  /** The newest first. For admins: whoever calls this has seen to that. Throws `request/invalid`, `request/cursor-expired`. */
  list(query: AuditQuery): { readonly items: readonly AuditView[]; readonly cursor: string | null };
}
