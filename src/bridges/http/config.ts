import { z } from 'zod';
import { type RatePolicy, ratePolicies } from '../rate.ts';
import { addressSchema } from '../schema.ts';
import type { LoginTerms } from './logins.ts';

const origin = z
  .string()
  .max(255)
  .refine(text => {
    const url = URL.parse(text);
    return url !== null && /^https?:$/.test(url.protocol) && url.origin === text;
  }, 'an origin such as https://app.example: scheme, host and port, nothing behind them');

const day = 86_400;
/** s: 400 days, which is as long as browsers keep a cookie. */
const longestLogin = 400 * day;

/** So many at once, and in each window for long. */
const rate = (usual: RatePolicy | null) =>
  z
    .strictObject({
      quota: z.int().min(1).max(100_000_000),
      window: z.int().min(1).max(86_400).describe('s'),
    })
    .nullable()
    .default(usual);

/** `bridges.http` of the configuration. */
export const httpConfigSchema = z.strictObject({
  cors: z
    .array(origin)
    .max(64)
    .default([])
    .describe('origins of other sites whose pages may call the API with a token of their own'),
  rates: z
    .strictObject({
      requests: rate(ratePolicies.requests).describe('of a client, over all'),
      sends: rate(ratePolicies.sends).describe('messages and blobs of a client, over WebSocket too'),
    })
    .prefault({})
    .describe('null: no limit; the owner on this machine has none'),
  sessions: z
    .strictObject({
      lifetime: z
        .int()
        .min(60)
        .max(longestLogin)
        .default(30 * day)
        .describe('s'),
      idle: z
        .int()
        .min(60)
        .max(longestLogin)
        .nullable()
        .default(7 * day)
        .describe('s that one may be unused; null: as long as it likes'),
    })
    .prefault({})
    .describe('how long a browser stays logged in; never longer than its token is good'),
  legacySend: z
    .boolean()
    .default(false)
    .describe(
      'GET /v1/send?to=&text=&token=: for devices that can do nothing else; tokens get into logs of proxies',
    ),
  sms: z
    .strictObject({
      numbers: z
        .record(z.string().regex(/^\+?[0-9]{1,20}$/, 'a number, with + or without'), addressSchema)
        .default({})
        .describe('whom a number stands for; an address may be given instead of a number'),
    })
    .exactOptional()
    .describe(
      '/cgi-bin/sendsms, /3rdparty/v1/messages and /index.php?app=ws, as programs for Kannel, SMS Gateway for Android and playSMS call them',
    ),
  ntfy: z
    .strictObject({
      topics: z
        .record(z.string().regex(/^[-_A-Za-z0-9]{1,64}$/, 'the name of a topic'), addressSchema)
        .default({})
        .describe('whom a topic stands for; a topic that is not named here is the room of its name'),
      baseUrl: z
        .url({ protocol: /^https?$/ })
        .max(255)
        .transform(url => url.replace(/\/$/, ''))
        .exactOptional()
        .describe('where clients find it, behind a proxy: files are named by it'),
    })
    .exactOptional()
    .describe('/ntfy/<topic>, as scripts and programs for ntfy publish and subscribe'),
});

export type HttpConfig = z.output<typeof httpConfigSchema>;

/** How long log-ins hold, as the configuration says it. */
export function loginTermsOf({ lifetime, idle }: HttpConfig['sessions']): LoginTerms {
  return { lifetime: lifetime * 1000, idle: idle === null ? null : idle * 1000 };
}
