import { createHash } from 'node:crypto';
import { type Origin, type OriginAnswer, type OriginRequest, startOrigin } from './origin.ts';

export interface WeatherOrigin extends Origin {
  /** Newer weather: every representation changes. */
  turn(): void;
}

const stations = [
  { id: 'harbour', name: 'Harbour', latitude: 54.32, longitude: 10.14 },
  { id: 'summit', name: 'Summit', latitude: 47.42, longitude: 10.98 },
];

/** A weather service as there are many: public reads with validators, one answer that depends on the language. */
export async function startWeatherOrigin(options: { readonly maxAge?: number } = {}): Promise<WeatherOrigin> {
  const maxAge = options.maxAge ?? 60;
  let turn = 0;
  const changed = () => new Date(Date.UTC(2026, 0, 1) + turn * 3_600_000).toUTCString();

  const answer = (request: OriginRequest): OriginAnswer => {
    const [version, kind, id, part] = request.pieces;
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, headers: { allow: 'GET, HEAD' }, body: { error: 'method not allowed' } };
    }
    if (version !== 'v1') {
      return { status: 404, body: { error: 'not found' } };
    }
    if (kind === 'ping' && id === undefined) {
      return { status: 200, headers: { 'cache-control': 'no-store' }, body: { pong: true } };
    }
    if (kind === 'stations' && id === undefined) {
      return validated(
        request,
        { items: stations, total: stations.length },
        `public, max-age=${maxAge * 60}`,
      );
    }
    const station = stations.find(known => known.id === id);
    if (kind !== 'stations' || station === undefined || part === undefined) {
      return { status: 404, body: { error: 'not found' } };
    }
    if (part === 'current') {
      return validated(
        request,
        { station: station.id, celsius: 4 + (turn % 20), windMs: 3.5, at: changed() },
        `public, max-age=${maxAge}`,
      );
    }
    if (part === 'forecast') {
      const german = /^de\b/i.test(request.headers['accept-language'] ?? '');
      return validated(
        request,
        {
          station: station.id,
          days: [0, 1, 2].map(day => ({
            day,
            celsius: 4 + ((turn + day) % 20),
            text: german ? 'wechselnd bewölkt' : 'partly cloudy',
          })),
        },
        `public, max-age=${maxAge}`,
        { vary: 'Accept-Language', 'content-language': german ? 'de' : 'en' },
      );
    }
    return { status: 404, body: { error: 'not found' } };
  };

  /** 304 where the client has it already, by ETag before Last-Modified. Source: RFC 9110 §13.2.2. */
  const validated = (
    request: OriginRequest,
    body: unknown,
    cacheControl: string,
    more: Readonly<Record<string, string>> = {},
  ): OriginAnswer => {
    const tag = createHash('sha256').update(JSON.stringify(body)).digest('hex').slice(0, 16);
    const etag = `"${tag}"`;
    const headers = { etag, 'last-modified': changed(), 'cache-control': cacheControl, ...more };
    const match = request.headers['if-none-match'];
    const since = request.headers['if-modified-since'];
    const unchanged =
      match === undefined
        ? since !== undefined && Date.parse(since) >= Date.parse(changed())
        : match.split(',').some(one => one.trim().replace(/^W\//, '') === etag || one.trim() === '*');
    return unchanged ? { status: 304, headers } : { status: 200, headers, body };
  };

  const origin = await startOrigin(answer);
  return {
    ...origin,
    turn() {
      turn += 1;
    },
  };
}
