/** What a node of a measurement is asked to do, on one line of its stdin. */
export interface Task {
  readonly role: 'serve' | 'measure';
  /** A directory of its own, removed afterwards. */
  readonly directory: string;
  /** Where the other one serves, and what. */
  readonly port?: number;
  /** 32 hex. */
  readonly destination?: string;
  /** How often it is measured, and how often before that it is only done; of a Resource the bytes sent before. */
  readonly count: number;
  readonly warmup: number;
  /** Bytes of what is sent. */
  readonly size?: number;
  /** Packets on their way at once. */
  readonly window?: number;
  /** Receipts of other packets that are waited for meanwhile. */
  readonly outstanding?: number;
  /** Whether its interfaces have the access code of the network `bench`. */
  readonly accessCode?: boolean;
  /** LXMF messages: the next when one is delivered, or all queued at once. */
  readonly mode?: 'sequential' | 'burst';
  /** What a Resource carries, and whether it may be compressed. */
  readonly file?: string;
  readonly compress?: boolean;
}

/** What a node says that serves. */
export interface Served {
  readonly port: number;
  /** 32 hex. */
  readonly destination: string;
}

/** What a node measured; all in ms. */
export interface Sample {
  /** Each alone; in a burst since its beginning. */
  readonly each: readonly number[];
  /** From the beginning of the first to the end of the last. */
  readonly total: number;
  /** How many failed. */
  readonly lost: number;
}
