/**
 * A value as the Python peer writes it in JSON: bytes are `{ hex }`, floats `{ float }`, integers beyond 2^53
 * `{ int }`, and maps are objects, whose integer keys are written as text.
 */
export type Wire =
  | null
  | boolean
  | number
  | string
  | { readonly hex: string }
  | { readonly float: number }
  | { readonly int: string }
  | readonly Wire[]
  | { readonly [key: string]: Wire };

/** What a packet or a Resource carries: bytes as hex, text as UTF-8, or so many random bytes. */
export type Payload = { readonly hex: string } | { readonly text: string } | { readonly size: number };

/** An LXMF message as a Python peer knows it; hashes are hex, `timestamp` is in seconds. */
export interface PeerMessage {
  readonly hash: string;
  readonly source: string;
  readonly destination: string;
  /** null where the bytes are not UTF-8; the `…Hex` twin has them always. */
  readonly title: string | null;
  readonly content: string | null;
  readonly titleHex: string;
  readonly contentHex: string;
  readonly fields: Readonly<Record<string, Wire>>;
  readonly timestamp: number;
  readonly method: 'opportunistic' | 'direct' | 'propagated' | 'paper' | null;
  readonly packed: string | null;
}

export interface ReceivedMessage extends PeerMessage {
  readonly verified: boolean;
  readonly unverifiedReason: 'source unknown' | 'signature invalid' | null;
  readonly stamped: boolean;
  readonly stampValid: boolean;
  readonly stampValue: number | null;
  readonly encrypted: boolean;
  /** The ratchet's id where a ratchet was used; the link's id over a link. */
  readonly ratchet: string | null;
}

export type DeliveryState =
  | 'generating'
  | 'outbound'
  | 'sending'
  | 'sent'
  | 'delivered'
  | 'rejected'
  | 'cancelled'
  | 'failed';

export interface SentMessage extends PeerMessage {
  readonly state: DeliveryState;
  readonly attempts: number;
  readonly progress: number;
  readonly representation: 'packet' | 'resource' | null;
  readonly stampCost: number | null;
}

export interface Announce {
  readonly destination: string;
  readonly identity: string;
  readonly appData: string | null;
  readonly name: string | null;
  readonly hops: number;
  readonly pathResponse: boolean;
  readonly packetHash: string;
}

export interface LinkState {
  readonly link: string;
  readonly state: 'pending' | 'handshake' | 'active' | 'stale' | 'closed';
  readonly rtt: number | null;
  readonly mtu: number;
  readonly mdu: number;
  readonly initiator: boolean;
  readonly remote: string | null;
}

export interface Proven {
  readonly sent: boolean;
  readonly proved: boolean;
  readonly hash: string;
  /** Seconds. */
  readonly rtt: number | null;
}

export interface ResourceEnd {
  readonly status: 'complete' | 'rejected' | 'failed' | string;
  readonly hash: string;
  readonly size: number;
  readonly sha256: string;
  readonly compressed: boolean;
  readonly seconds: number;
}

export interface Answer {
  readonly ready: boolean;
  readonly id: string;
  readonly response: Wire;
  readonly rtt: number | null;
  /** Of a response that is bytes. */
  readonly size?: number;
  readonly sha256?: string;
}

/** What a peer says without being asked; `at` is its clock in seconds. */
export type PeerEvent = { readonly at: number } & (
  | ({ readonly event: 'message' } & ReceivedMessage)
  | {
      readonly event: 'delivery';
      readonly hash: string;
      readonly state: DeliveryState;
      readonly method: string;
    }
  | ({ readonly event: 'announce' } & Announce)
  /** A TCP connection of the peer, dialled or accepted. */
  | { readonly event: 'interface'; readonly name: string; readonly state: 'up' | 'down' }
  | {
      readonly event: 'packet';
      readonly destination: string;
      readonly data: string;
      readonly hash: string;
      readonly ratchet: string | null;
    }
  | {
      readonly event: 'link';
      readonly link: string;
      readonly state: 'established' | 'identified' | 'closed';
      readonly destination?: string;
      readonly initiator?: boolean;
      readonly identity?: string;
      readonly reason?: 'timeout' | 'initiator closed' | 'destination closed' | null;
    }
  | { readonly event: 'channel message'; readonly link: string; readonly data: string }
  | {
      readonly event: 'stream';
      readonly link: string;
      readonly stream: number;
      readonly size: number;
      readonly sha256: string;
    }
  | { readonly event: 'link packet'; readonly link: string; readonly data: string; readonly hash: string }
  | {
      readonly event: 'request';
      readonly link: string;
      readonly path: string;
      readonly data: Wire;
      readonly remote: string | null;
    }
  | {
      readonly event: 'resource';
      readonly link: string;
      readonly state: 'started' | 'complete' | 'failed';
      readonly hash: string;
      readonly original?: string;
      readonly size?: number;
      readonly sha256?: string;
      readonly metadata?: Wire;
    }
);

export type PeerEventOf<Kind extends PeerEvent['event']> = Extract<PeerEvent, { readonly event: Kind }>;
