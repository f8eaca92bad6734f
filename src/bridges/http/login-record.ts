import { z } from 'zod';
import { check } from '../schema.ts';

/** Where the log-ins lie over a restart. */
export interface LoginFile {
  read(): string | undefined;
  write(text: string): void;
}

/** A log-in as it is kept: hashes and times, nothing that opens anything. Times are ms epoch. */
export interface LoginRecord {
  /** SHA-256 of the cookie. */
  readonly id: string;
  /** SHA-256 of the token: the log-in lives no longer than it. */
  readonly token: string;
  /** The id of the client. */
  readonly client: string;
  readonly createdAt: number;
  /** The address it was opened from. */
  readonly createdFrom: string;
  readonly usedAt: number;
  readonly usedFrom: string;
  /** What the browser calls itself. */
  readonly agent: string;
}

/** Characters of what a browser calls itself. */
export const longestAgent = 256;

/** ms that log-ins of earlier versions held, which kept when one ends and not when it was opened. */
const earlierLifetime = 30 * 24 * 60 * 60 * 1000;

const text = z.string().max(longestAgent);
const schema = z.array(
  z.strictObject({
    id: z.string(),
    token: z.string(),
    until: z.number().exactOptional(),
    client: text.exactOptional(),
    createdAt: z.number().exactOptional(),
    createdFrom: text.default(''),
    usedAt: z.number().exactOptional(),
    usedFrom: text.default(''),
    agent: text.default(''),
  }),
);

/**
 * What the file holds, the newest last. Of another version, or damaged: nothing, and everybody logs in again. `clientOf` tells
 * whose a token is, where an earlier version did not keep it.
 */
export function readLogins(
  file: LoginFile | undefined,
  now: number,
  clientOf: (token: string) => string | undefined,
): readonly LoginRecord[] {
  let kept: z.output<typeof schema>;
  try {
    kept = check(schema, JSON.parse(file?.read() ?? '[]'));
  } catch {
    return [];
  }
  return kept.flatMap(({ until, ...one }) => {
    const { client = clientOf(one.token), createdAt = (until ?? 0) - earlierLifetime, usedAt = now } = one;
    return client === undefined ? [] : [{ ...one, client, createdAt, usedAt }];
  });
}

/** The text of the file. */
export function loginsText(records: Iterable<LoginRecord>): string {
  return JSON.stringify(
    [...records].map(({ id, token, client, createdAt, createdFrom, usedAt, usedFrom, agent }) => ({
      id,
      token,
      client,
      createdAt,
      createdFrom,
      usedAt,
      usedFrom,
      agent,
    })),
  );
}
