import assert from 'node:assert/strict';
import { type Access, createAccess } from '../../src/bridges/access.ts';
import { httpConfigSchema, loginTermsOf } from '../../src/bridges/http/config.ts';
import type { InterfaceControl } from '../../src/bridges/http/interfaces.ts';
import type { LegacyParts } from '../../src/bridges/http/legacy/send.ts';
import { addLegacyWindow } from '../../src/bridges/http/legacy/window.ts';
import { createLogins } from '../../src/bridges/http/logins.ts';
import type { MeshView } from '../../src/bridges/http/mesh.ts';
import type { MeshManagement } from '../../src/bridges/http/mesh-management.ts';
import type { Settings } from '../../src/bridges/http/settings.ts';
import { addHttpWindow } from '../../src/bridges/http/window.ts';
import { createListener, type Listener } from '../../src/bridges/listener.ts';
import { problemSchema } from '../../src/bridges/problems.ts';
import { createRates } from '../../src/bridges/rate.ts';
import { createSessions } from '../../src/bridges/sessions.ts';
import { webhookConfigSchema } from '../../src/bridges/webhook/config.ts';
import type { WsLimits } from '../../src/bridges/ws/limits.ts';
import { addWsWindow } from '../../src/bridges/ws/window.ts';
import type { ClientDraft } from '../../src/gateway/client.ts';
import type { Desk } from '../../src/gateway/desk.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { Counters } from '../../src/lib/counters.ts';
import { GatewayError } from '../../src/lib/errors.ts';
import { silentLog } from '../../src/lib/log.ts';
import { systemRandom } from '../../src/lib/random.ts';
import { createHubWebhooks, type HubWebhookParts, type HubWebhooks } from '../../src/start/webhooks.ts';
import { openTestSwitch, type TestSwitch, type TestSwitchOptions } from '../gateway/fixture.ts';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at, not used.
type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly body: Json;
}

export interface CallOptions {
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
}

/** No interface, nobody heard. */
const noMesh: MeshView = {
  announce: async () => false,
  interfaces: () => [],
  paths: () => [],
  links: () => [],
  announces: () => [],
  rates: () => [],
  transit: () => [],
  dropPaths: () => 0,
  pathCounts: () => new Map(),
  linkCounts: () => new Map(),
  sizes: () => ({}),
};

const nothing = {};
/** Nobody to probe. */
const noManagement: MeshManagement = {
  probe: () => Promise.reject(new GatewayError('mesh/no-path', 'nobody is there')),
  requestPath: () => Promise.reject(new GatewayError('mesh/no-path', 'nobody is there')),
  blackhole: { list: () => [], add: async () => true, remove: async () => false },
  discovered: () => [],
};

/** A real switch behind a real listener on a free port. */
export interface TestGateway extends AsyncDisposable {
  readonly hub: TestSwitch;
  readonly desk: Desk;
  readonly listener: Listener;
  readonly access: Access;
  readonly webhooks: HubWebhooks;
  readonly url: string;
  /** A client's token. */
  client(name: string, draft?: Partial<ClientDraft>): Promise<string>;
  /** Calls with a token (or none), a JSON body (or text, or bytes); a problem is checked for its form. */
  call(
    token: string | undefined,
    method: string,
    path: string,
    body?: unknown,
    options?: CallOptions,
  ): Promise<Answer>;
}

export async function openGateway(
  options: TestSwitchOptions & {
    readonly ws?: Partial<WsLimits>;
    /** `bridges.http` of the configuration. */
    readonly http?: Readonly<Record<string, unknown>>;
    readonly mesh?: Partial<MeshView>;
    readonly interfaces?: Partial<InterfaceControl>;
    readonly settings?: Partial<Settings>;
    readonly management?: Partial<MeshManagement>;
    readonly webhook?: Readonly<Record<string, unknown>> & Pick<HubWebhookParts, 'lookup' | 'limits'>;
  } = {},
): Promise<TestGateway> {
  const { ws: limits = {}, webhook: { lookup, limits: webhookLimits, ...webhook } = {}, ...rest } = options;
  const webhooks = createHubWebhooks({
    clock: options.clock ?? systemClock,
    random: systemRandom,
    log: options.log ?? silentLog,
    counters: new Counters(),
    get store() {
      return hub.store;
    },
    get gateway() {
      return hub;
    },
    config: webhookConfigSchema.parse(webhook),
    ...(lookup !== undefined && { lookup }),
    ...(webhookLimits !== undefined && { limits: webhookLimits }),
  });
  // Only where they are looked at: tests list what a hub has.
  const bridges = [...(rest.bridges ?? []), ...(options.webhook === undefined ? [] : [webhooks.bridge])];
  const hub: TestSwitch = await openTestSwitch({ ...rest, bridges });
  const desk: Desk = hub.desk;
  const clock = options.clock ?? systemClock;
  const parts = { clock, log: options.log ?? silentLog };
  const listener = await createListener({ ...parts, counters: hub.counters, host: '127.0.0.1', port: 0 });
  const access = createAccess({ clients: desk.clients, clock, counters: hub.counters, audit: desk.audit });
  const sessions = createSessions({ clients: desk.clients });
  const config = httpConfigSchema.parse(options.http ?? {});
  const rates = createRates({ clock, counters: hub.counters, policies: config.rates });
  const logins = createLogins({ ...parts, desk, random: systemRandom, terms: loginTermsOf(config.sessions) });
  await webhooks.start();
  const { counters } = hub;
  const legacy: LegacyParts = {
    ...parts,
    random: systemRandom,
    counters,
    desk,
    access,
    sessions,
    rates,
    config,
  };
  addHttpWindow(listener, {
    ...parts,
    legacy: addLegacyWindow(listener, legacy, '/ntfy'),
    desk,
    access,
    sessions,
    counters: () => hub.counters.snapshot(),
    logins,
    config,
    rates,
    mesh: { ...noMesh, ...options.mesh },
    interfaces: { ...nothing, ...options.interfaces } as InterfaceControl,
    settings: { ...nothing, ...options.settings } as Settings,
    management: { ...noManagement, ...options.management },
    webhooks: webhooks.desk,
    backups: { open: () => Promise.reject(new GatewayError('store/unavailable', 'no backups here')) },
  });
  addWsWindow(listener, { ...parts, counters: hub.counters, desk, access, sessions, rates, limits });
  await listener.listen();
  const { url } = listener.address();
  return {
    hub,
    desk,
    listener,
    access,
    webhooks,
    url,
    async client(name, draft = {}) {
      const { token } = await desk.clients.create({
        name,
        scopes: ['messages:read', 'messages:send'],
        ...draft,
      });
      return token;
    },
    async call(token, method, path, body, { headers = {}, signal } = {}) {
      const raw = typeof body === 'string' || body instanceof Uint8Array;
      const answer = await fetch(`${url}${path}`, {
        method,
        headers: {
          ...(token !== undefined && { authorization: `Bearer ${token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: raw ? (body as string) : JSON.stringify(body) }),
        ...(signal && { signal }),
      });
      const text = await answer.text();
      const isJson = /json/.test(answer.headers.get('content-type') ?? '');
      const result = {
        status: answer.status,
        headers: answer.headers,
        body: isJson && text ? JSON.parse(text) : text,
      };
      if (answer.status >= 400 && !path.startsWith('/readyz')) {
        assertProblem(result);
      }
      return result;
    },
    async [Symbol.asyncDispose]() {
      await listener.close();
      logins[Symbol.dispose]();
      await webhooks[Symbol.asyncDispose]();
      await hub[Symbol.asyncDispose]();
    },
  };
}

/** Every error is `application/problem+json` with a code of ours and its own status. */
export function assertProblem(answer: Answer): void {
  assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
  const problem = problemSchema.parse(answer.body);
  assert.equal(problem.type, `urn:kos:problem:${problem.code}`);
  assert.equal(problem.status, answer.status);
  assert.equal('stack' in problem, false);
}

/** The pointers of a refusal, sorted. */
export function pointers(answer: Answer): string[] {
  assert.equal(answer.body.code, 'request/invalid', JSON.stringify(answer.body));
  return answer.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort();
}

/** A cursor of another data directory: the mark after its first letter is not this one's. */
export function foreign(cursor: string): string {
  return cursor.replace(/^(.)(.)/, (_, kind: string, digit: string) => `${kind}${digit === '0' ? '1' : '0'}`);
}

/** Reads again until it is as expected: states are written beside the answers that cause them. */
export async function eventually<T>(read: () => Promise<T>, expected: T): Promise<void> {
  for (let turn = 0; turn < 500 && (await read()) !== expected; turn++) {
    await systemClock.sleep(5);
  }
  assert.equal(await read(), expected);
}
