import { readFileSync } from 'node:fs';
import { getCACertificates } from 'node:tls';
import { isDeepStrictEqual } from 'node:util';
import { createWebhookBridge } from '../bridges/webhook/bridge.ts';
import type { WebhookConfig } from '../bridges/webhook/config.ts';
import type { WebhookParts, Webhooks } from '../bridges/webhook/service.ts';
import type { Bridge } from '../gateway/bridge.ts';
import type { Store } from '../gateway/store/store.ts';
import type { Switch } from '../gateway/switch.ts';
import { createWebhookShelf } from '../gateway/webhook-shelf.ts';
import type { WebhookDesk } from '../gateway/webhooks.ts';
import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import { createNames } from '../lib/names.ts';
import type { Random } from '../lib/random.ts';

export interface HubWebhookParts extends Partial<Pick<WebhookParts, 'lookup' | 'limits'>> {
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly store: Store;
  readonly gateway: Pick<Switch, 'desk' | 'report' | 'forget' | 'onClockSet'>;
  readonly config: WebhookConfig;
}

/** The webhooks of a hub. What they are made of is loaded with the first of them: most hubs have none. */
export interface HubWebhooks extends AsyncDisposable {
  /** Webhooks as members of rooms and targets of routes. */
  readonly bridge: Bridge;
  readonly desk: WebhookDesk;
  /** Takes up those that are kept, where there are any. */
  start(): Promise<void>;
  /** Throws `config/invalid` where the file of authorities cannot be used. */
  adopt(config: WebhookConfig): void;
}

/** Throws `config/invalid` where the file of authorities cannot be used. */
export function createHubWebhooks(parts: HubWebhookParts): HubWebhooks {
  /** Store and switch are there when the first of these is called. */
  const shelf = () => createWebhookShelf(parts.store);
  let { config } = parts;
  let ca = authoritiesOf(config);
  let opening: Promise<Webhooks> | undefined;
  let opened: Webhooks | undefined;
  let unwatch: () => void = () => undefined;

  function open(): Promise<Webhooks> {
    opening ??= import('../bridges/webhook/service.ts').then(({ openWebhooks }) => {
      opened = openWebhooks({
        ...parts,
        lookup: parts.lookup ?? createNames(parts),
        desk: parts.gateway.desk,
        shelf: shelf(),
        config,
        ...(ca !== undefined && { ca }),
        clientOf: id => parts.gateway.desk.clients.active().find(client => client.id === id),
        report: health => parts.gateway.report(health),
        forget: name => parts.gateway.forget(name),
        onReachable: id => bridge.reachable(id),
      });
      unwatch = parts.gateway.onClockSet(by => opened?.moveTimes(by));
      return opened;
    });
    return opening;
  }

  const known = (): WebhookDesk => {
    if (opened === undefined) {
      throw new GatewayError('request/not-found', 'no such webhook');
    }
    return opened.desk;
  };

  const bridge = createWebhookBridge(() => opened);

  return {
    bridge,
    desk: {
      create: async (client, draft, id) => (await open()).desk.create(client, draft, id),
      list: client => opened?.desk.list(client) ?? [],
      get: (client, id) => known().get(client, id),
      change: async (client, id, patch) => known().change(client, id, patch),
      remove: async (client, id) => known().remove(client, id),
      test: async (client, id, signal) => known().test(client, id, signal),
      replay: async (client, id, from) => known().replay(client, id, from),
      rotate: async (client, id, options) => known().rotate(client, id, options),
    },
    async start() {
      if (shelf().rows().length > 0) {
        await open();
      }
    },
    adopt(wanted) {
      if (isDeepStrictEqual(wanted, config)) {
        return;
      }
      ca = authoritiesOf(wanted);
      config = wanted;
      opened?.adopt(wanted, ca);
    },
    async [Symbol.asyncDispose]() {
      unwatch();
      await (await opening)?.[Symbol.asyncDispose]();
    },
  };
}

/** The system's authorities and those of the file; undefined where the system's alone are believed. */
function authoritiesOf({ caFile }: WebhookConfig): readonly string[] | undefined {
  if (caFile === undefined) {
    return undefined;
  }
  let detail = 'no certificates in PEM';
  try {
    const own = readFileSync(caFile, 'utf8');
    if (own.includes('-----BEGIN CERTIFICATE-----')) {
      return [...getCACertificates('default'), own];
    }
  } catch (error) {
    detail = `${caFile} cannot be read: ${(error as NodeJS.ErrnoException).code ?? codeOf(error)}`;
  }
  throw new GatewayError('config/invalid', '1 mistake(s) in the configuration', {
    errors: [{ pointer: 'bridges.webhook.caFile', detail }],
  });
}
