import type { ClientEnd } from './client-life.ts';
import type { TokenFault } from './client-token.ts';
import type { Client, Scope } from './desk.ts';
import type { Address } from './message.ts';
import type { Role } from './roles.ts';

/** What a client is made from. */
export interface ClientDraft {
  /** `[a-z0-9-]{1,32}`, never used before. */
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** The role the scopes come from, where it was given one. */
  readonly role?: Role;
  /** Default `['hub']`. */
  readonly rooms?: readonly string[];
  /** `own`: addresses of its own on the mesh, announced under its name until it is revoked. Default `hub`. */
  readonly identity?: 'own' | 'hub';
  readonly expiresAt?: number;
}

/** A client as its owner sees it. */
export interface ClientView extends Client {
  readonly role?: Role;
  readonly addresses?: readonly Address[];
  /** Goes up with every change of it, but not by being used. */
  readonly version: number;
  readonly createdAt: number;
  readonly rotatedAt?: number;
  /** ms epoch until which a token that was replaced is good. */
  readonly previousUntil?: number;
  /** When and from where a token of it was shown; to a minute after a kill. */
  readonly lastUsedAt?: number;
  readonly lastUsedFrom?: string;
  readonly revokedAt?: number;
}

/** What of a client can be changed; what is not there stays. Its streams end, and it comes back with what it has now. */
export interface ClientChange {
  readonly scopes?: readonly Scope[];
  /** Instead of `scopes`. */
  readonly role?: Role;
  readonly rooms?: readonly string[];
  /** null: never. */
  readonly expiresAt?: number | null;
}

export interface Clients {
  /** The client of a token, or what is the matter with it. */
  authenticate(token: string): { readonly client?: Client; readonly fault?: TokenFault };
  /**
   * `request/conflict` if the name was ever used, `store/full` where too many clients are there or have addresses of their
   * own. The token is shown here and never again.
   */
  create(draft: ClientDraft): Promise<{
    readonly client: Client;
    readonly token: string;
    readonly addresses?: readonly Address[];
  }>;
  /** The client whose token has this SHA-256 (hex), while the token is good: what a log-in keeps instead of the token. */
  holderOf(tokenHash: string): Client | undefined;
  list(): readonly ClientView[];
  /** By name or id, revoked ones too. */
  find(nameOrId: string): ClientView | undefined;
  /** By name or id. Throws `request/not-found`, `request/invalid`, and `request/conflict` for the owner and where it was changed meanwhile. */
  change(nameOrId: string, change: ClientChange): Promise<ClientView>;
  /**
   * Gives it a new token, shown here and never again. Those it had are good for `grace` ms more, no longer than they
   * were. Throws `request/not-found`, `request/conflict` where it was changed meanwhile.
   */
  rotate(nameOrId: string, grace: number): Promise<{ readonly client: ClientView; readonly token: string }>;
  /** Called after each revocation, or rotation. Returns the way to stop. */
  onRevoked(listener: (client: Client) => void): () => void;
  onRotated(listener: (client: Client) => void): () => void;
  /**
   * By name or id; `request/not-found`. What it holds open ends. Where it cannot be written (`store/full`, `store/unavailable`)
   * it holds all the same, until the process ends, and may be repeated.
   */
  revoke(nameOrId: string): Promise<void>;
  /** Calls once when the right is over that this Client stands for: revoked, expired, replaced, changed. Returns the way to stop. */
  watch(client: Client, onEnd: (why: ClientEnd) => void): () => void;
  /**
   * The same client with the rights it has now: between the head of a request and the end of its body minutes may pass. Throws
   * `request/unauthenticated` where the token it came with is not good any more.
   */
  current(client: Client): Client;
  /** A token of the client was shown from this address. */
  used(id: string, from: string): void;
}
