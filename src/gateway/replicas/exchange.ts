import type { Readable } from 'node:stream';
import type { Fields } from './fields.ts';

/** A request of a client to a service, as the listener hands it in. */
export interface Exchange {
  readonly method: string;
  /** Path and query below the service, byte for byte. */
  readonly path: string;
  /** Hop-by-hop fields are gone. */
  readonly headers: Fields;
  /** Undefined where there is none. */
  readonly body?: Readable;
  /** Read when the body has ended. */
  readonly trailers?: () => Fields;
  readonly client: { readonly address: string; readonly host: string; readonly proto: string };
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
  /** Tells the client something before the answer; 100 among it. */
  readonly inform: (status: number, headers: Fields) => void;
}

/** What the client gets. A stream is the reader's to destroy. */
export interface Reply {
  readonly status: number;
  readonly statusMessage?: string;
  readonly headers: Fields;
  readonly body?: Uint8Array | Readable;
  readonly trailers?: () => Fields;
  /** ms epoch when the request to the service was sent that this answers or last confirmed it. */
  readonly asOf?: number;
  /** Long silence is part of it. */
  readonly endless?: boolean;
}
