import type { Client, EventKind } from './desk.ts';
import type { Address } from './message.ts';

/** What the owner of a webhook sets. */
export interface WebhookSettings {
  readonly url: string;
  readonly description?: string;
  readonly enabled: boolean;
  /** What the endpoint has taken counts as read from the inbox of its client. */
  readonly acknowledge: boolean;
  /** Which events: every member that is there must match. */
  readonly events?: readonly EventKind[];
  readonly types?: readonly string[];
  readonly rooms?: readonly string[];
  readonly peers?: readonly Address[];
}

export type WebhookDraft = Pick<WebhookSettings, 'url'> &
  Partial<WebhookSettings> & {
    /** `whsec_` and base64 of 24 to 64 bytes; one is minted without it. */
    readonly secret?: string;
  };

/** What may be changed; null takes a member away. */
export type WebhookPatch = {
  readonly [K in keyof WebhookSettings]?: WebhookSettings[K] | null;
};

/** Why an attempt did not get through. */
export const webhookFailures = [
  'refused',
  'dns',
  'blocked',
  'connect',
  'tls',
  'timeout',
  'reset',
  'malformed',
  'redirect',
  'gone',
  'status',
] as const;
export type WebhookFailure = (typeof webhookFailures)[number];

/** One request to an endpoint and what came of it. */
export interface WebhookAttempt {
  /** ms epoch at which it began. */
  readonly at: number;
  /** The `webhook-id` it was sent under, the same at every attempt. */
  readonly id: string;
  /** The `type` of what was sent. */
  readonly type: string;
  /** `delivered` (2xx), `sent` (202: taken for later), `queued` (goes again), `failed` (410, or a test). */
  readonly state: 'queued' | 'sent' | 'delivered' | 'failed';
  /** ms */
  readonly duration: number;
  /** The HTTP status, where there was an answer. */
  readonly status?: number;
  readonly code?: WebhookFailure;
  readonly reason?: string;
}

export const webhookStates = ['idle', 'sending', 'waiting', 'paused', 'disabled'] as const;
export type WebhookState = (typeof webhookStates)[number];

/** A webhook as its owner sees it. */
export interface WebhookView extends WebhookSettings {
  readonly id: string;
  /** The name of the client it belongs to. */
  readonly client: string;
  readonly createdAt: number;
  /**
   * `idle` (told of everything), `sending`, `waiting` (for its next attempt), `paused` (its client's token has
   * expired), `disabled` (by its owner, or by the hub; the reason says which).
   */
  readonly state: WebhookState;
  readonly reason?: string;
  /** Done up to here: a cursor of `GET /v1/events`. */
  readonly cursor: string;
  /** Events of the hub behind the cursor: how many of them the webhook shows is known when they are looked at. */
  readonly pending: number;
  /** ms epoch of the oldest of them. */
  readonly pendingSince?: number;
  /** Attempts in vain since the last success. */
  readonly failures: number;
  readonly failingSince?: number;
  readonly nextAt?: number;
  readonly lastSuccessAt?: number;
  readonly lastFailure?: Pick<WebhookAttempt, 'at' | 'code' | 'status' | 'reason'>;
  /** Events that were forgotten before they could be sent: the endpoint is told of it before anything else. */
  readonly gap?: { readonly at: number; readonly after: string };
  /** What it signs with: when each was made, and until when an older one is still used. Never the secrets. */
  readonly secrets: readonly { readonly createdAt: number; readonly until?: number }[];
  /** The latest, the newest first. */
  readonly attempts: readonly WebhookAttempt[];
}

/**
 * Endpoints of others that are told of events, as windows show and change them. A webhook belongs to the client that
 * made it and shows what that client may see; an admin sees and changes all. A webhook that the client may not see is
 * `request/not-found`.
 */
export interface WebhookDesk {
  /**
   * Begins with what happens next. The secret is shown here and never again. Throws `request/forbidden` for a URL
   * that may not be called, `wire/unsupported` for what is none, `request/conflict` where there are too many. Where the client
   * has one with this `id`, it is that again, or `request/idempotency-mismatch`.
   */
  create(
    client: Client,
    draft: WebhookDraft,
    id?: string,
  ): Promise<{ readonly webhook: WebhookView; readonly secret: string; readonly repeated: boolean }>;
  list(client: Client): readonly WebhookView[];
  get(client: Client, id: string): WebhookView;
  /** Enabling it again lets it try at once. Throws as `create` does. */
  change(client: Client, id: string, patch: WebhookPatch): Promise<WebhookView>;
  remove(client: Client, id: string): Promise<void>;
  /** Sends a `webhook.test` event now, whatever state it is in, and says what came of it. */
  test(client: Client, id: string, signal?: AbortSignal): Promise<WebhookAttempt>;
  /**
   * Goes on behind another event, or with the first at or after a time: back, to send again, or forward, to pass over.
   * Throws `request/invalid`, `request/cursor-expired`.
   */
  replay(
    client: Client,
    id: string,
    from: { readonly after: string } | { readonly since: number },
  ): Promise<WebhookView>;
  /** Another secret; the one before signs as well for `grace` ms. */
  rotate(
    client: Client,
    id: string,
    options: { readonly secret?: string; readonly grace?: number },
  ): Promise<{ readonly webhook: WebhookView; readonly secret: string }>;
}
