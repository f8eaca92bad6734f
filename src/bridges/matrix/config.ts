import { z } from 'zod';

const userId = z
  .string()
  .max(255)
  .regex(/^@[!-9;-~]+:[^\s/]+$/, 'a Matrix user, such as @me:home.example');

/** `bridges.matrix` of the config file. */
export const matrixConfigSchema = z.strictObject({
  homeserver: z
    .url({ protocol: /^https?$/, error: 'a URL such as http://127.0.0.1:8008' })
    .describe("where the gateway reaches the homeserver's client API"),
  serverName: z
    .string()
    .max(230)
    .regex(
      /^[A-Za-z0-9.-]+(?::\d{1,5})?$|^\[[0-9a-f:.]+\](?::\d{1,5})?$/i,
      'the server_name of the homeserver, such as home.example',
    )
    .describe('the name after the colon in its user ids'),
  registration: z
    .string()
    .min(1)
    .describe('the registration file, which the homeserver reads too; made by kosctl matrix registration'),
  url: z
    .url({ protocol: /^https?$/, error: 'a URL such as http://kos:8080' })
    .optional()
    .describe('where the homeserver reaches the gateway; the address of listen.http by default'),
  invite: userId
    .optional()
    .describe('who is invited to every portal room, and gets what mesh peers write to the hub'),
  allow: z
    .array(z.string().regex(/^@\S+:\S+$/, 'a pattern of users, such as @*:home.example'))
    .max(256)
    .optional()
    .describe('who may open direct chats with mesh peers and with the bot; users of serverName by default'),
  portals: z
    .enum(['server', 'invite'])
    .default('server')
    .describe(
      'who may join portal rooms: everybody with an account on this homeserver, or who is invited (from other servers too)',
    ),
});

export type MatrixConfig = z.infer<typeof matrixConfigSchema>;

const second = 1000;
const minute = 60 * second;
const mebibyte = 1024 * 1024;

/** Every bound of the Matrix bridge; docs/limits.md has the reasons. ms and bytes unless said. */
export const matrixLimits = {
  /** A transaction of the homeserver: 100 events of 64 KiB and what comes with them. */
  transactionBytes: 16 * mebibyte,
  /** Events that wait to be accepted, and their bytes; past it the homeserver keeps them. */
  inboxEvents: 10_000,
  inboxBytes: 64 * mebibyte,
  /** How long a transaction waits for the switch before its events go to disk and it is answered. */
  acceptPatience: 300,
  /** Event ids and transactions remembered to answer repeats quickly. */
  recentEvents: 4096,
  recentTransactions: 256,
  /** Between two tries to accept an event that the store could not take. */
  firstRetry: second,
  longestRetry: minute,
  /** One request to the homeserver; an upload or a download. */
  requestTimeout: 30 * second,
  mediaTimeout: 5 * minute,
  /** A wait that a rate limit may ask for while a delivery holds its place; longer ones go back to the outbox. */
  rateLimitPatience: 30 * second,
  /** Repeats of one request because of rate limits. */
  rateLimitRepeats: 5,
  /** A file in either direction. */
  mediaBytes: 32 * mebibyte,
  mediaAtOnce: 4,
  /** Tries to fetch a file that another server has and does not give; its message goes on without it then. */
  mediaTries: 4,
  /** The largest event content that is sent as it is: an event may have 65 536 bytes with all that is around it. */
  contentBytes: 48 * 1024,
  /** What is shown of a text that does not fit, characters. */
  excerpt: 2000,
  /** Long poll by which a restart of the homeserver is noticed. */
  watchPoll: 30 * second,
  /** Between two looks into the rooms for what was never pushed, and between two pings. */
  catchUpEvery: 5 * minute,
  pingEvery: minute,
  /** Events read back of one room at once, and at most where nothing is known of it. */
  page: 100,
  firstLook: 100,
  /** How old an event may be that is read back where the place to go on from is lost. */
  lostPlaceAge: 7 * 24 * 60 * minute,
  pagesOfARoom: 200,
  /** Attempts after which an answer 500 counts as a refusal: it would block what comes after. */
  serverErrors: 8,
  ghosts: 10_000,
  /** Past so many none is made because the homeserver asks whether there is one: the rest is for who speaks. */
  ghostsAskedFor: 5000,
  ghostName: 128,
  /** Ghosts that are asked for invitations after the homeserver was away. */
  askedGhosts: 500,
  /** Sent events whose read receipts are waited for. */
  receipts: 10_000,
  /** After a change, how long a sender's status waits for more changes. */
  statusDelay: 1500,
  /** Between two notices of the same kind in a room. */
  noticeEvery: 60 * minute,
} as const;
