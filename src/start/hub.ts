import { join } from 'node:path';
import manifest from '../../package.json' with { type: 'json' };
import { createAccess } from '../bridges/access.ts';
import type { Backups } from '../bridges/http/backup.ts';
import { loginTermsOf } from '../bridges/http/config.ts';
import { createLogins } from '../bridges/http/logins.ts';
import type { Reloaded } from '../bridges/http/settings.ts';
import { addHttpWindow } from '../bridges/http/window.ts';
import { createListener, type Listener } from '../bridges/listener.ts';
import { LxmfBridge } from '../bridges/lxmf/bridge.ts';
import { createMqttBridge, type MqttBridge } from '../bridges/mqtt/bridge.ts';
import { createRates } from '../bridges/rate.ts';
import { createSessions } from '../bridges/sessions.ts';
import type { SvcListener } from '../bridges/svc/listener.ts';
import { addWsWindow } from '../bridges/ws/window.ts';
import { baseOf, type Config } from '../config.ts';
import type { Audit } from '../gateway/audit-entry.ts';
import { ownerName } from '../gateway/clients.ts';
import type { Desk, HubFacts } from '../gateway/desk.ts';
import { createReplicaWrites } from '../gateway/replicas/writes.ts';
import { startError } from '../gateway/store/room.ts';
import { openStore } from '../gateway/store/store.ts';
import { createSwitch, type Switch } from '../gateway/switch.ts';
import { toHex } from '../lib/bytes.ts';
import type { Clock } from '../lib/clock.ts';
import { Counters } from '../lib/counters.ts';
import { codeOf } from '../lib/errors.ts';
import { type Log, leveled } from '../lib/log.ts';
import { createNames } from '../lib/names.ts';
import type { Random } from '../lib/random.ts';
import { createSignatureThreads } from '../lib/signature-threads.ts';
import { interfaceSchema } from '../radio/config.ts';
import { placeOf } from '../radio/local-config.ts';
import type { OpenSerial } from '../radio/serial.ts';
import { asyncapi } from './asyncapi.ts';
import { recordReload, recordStart, recordStop } from './hub-audit.ts';
import { openIdentity, openIdentityFile, transportIdentityOf } from './identity.ts';
import { createInterfaceControl } from './interface-control.ts';
import { addressOf, createInterface, policyFor } from './interfaces.ts';
import { openLegacy } from './legacy.ts';
import { endpointOf, listenOrMove } from './listening.ts';
import { createLiveInterfaces, type LiveInterfaces } from './live-interfaces.ts';
import { loginFile } from './login-file.ts';
import { blackholeOf, createManagement } from './management.ts';
import { openMatrix } from './matrix.ts';
import { createMesh } from './mesh.ts';
import { tellMeshChanges } from './mesh-events.ts';
import { createMeshView } from './mesh-view.ts';
import { keepOwnerToken, readOwnerToken, removeOwnerToken } from './owner-token.ts';
import { openConfiguredReplicas } from './replicas.ts';
import { createSettings } from './settings.ts';
import { settled } from './settled.ts';
import { createHubWebhooks } from './webhooks.ts';

export interface HubOptions {
  readonly config: Config;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** Reads the configuration again, from where `config` was read. Without it nothing can be reloaded. */
  readonly reread?: (() => Config) | undefined;
  /** The config file, where there is one. */
  readonly file?: string | undefined;
  /** A file with the owner token, instead of minting one. */
  readonly ownerTokenFile?: string | undefined;
  /** How radios' serial ports are opened; simulated ones have none that the machine knows. */
  readonly openSerial?: OpenSerial;
}

/** A running hub. */
export interface Hub {
  readonly facts: HubFacts;
  readonly desk: Desk;
  /** The owner token where it was minted just now; it lies in the data folder until it has been shown. */
  readonly mintedOwnerToken: string | undefined;
  readonly data: string;
  readonly httpUrl: string;
  readonly mqttUrl: string;
  /** Where the replicas are, without their ids; undefined where none is defined. */
  readonly replicasUrl: string | undefined;
  /** Where programs that take a host and no path find what they know; undefined where it is not asked for. */
  readonly legacyUrl: string | undefined;
  /** How the mesh is reached, to be looked at and changed. */
  readonly interfaces: LiveInterfaces;
  /** Listening interfaces by name, as `host:port`. */
  interfaceAddresses(): Readonly<Record<string, string>>;
  announce(): Promise<boolean>;
  /** Reads the configuration again and takes over what can be. Throws `config/invalid`; then nothing is changed. */
  reload(): Promise<Reloaded>;
  /** Stops accepting, drains, closes, in the reverse order of the start. */
  close(): Promise<void>;
}

/**
 * The composition root: opens everything in order on one stack, and closes it in reverse. Throws
 * `store/unavailable` where the data folder is in use or unusable, `store/full` where its disk is, `bridge/unavailable` where a chosen
 * port is busy, `config/invalid` for an owner token that cannot be used.
 */
export async function startHub(options: HubOptions): Promise<Hub> {
  try {
    return await openAll(options);
  } catch (error) {
    throw await startError(options.config.hub.data, error);
  }
}

async function openAll(options: HubOptions): Promise<Hub> {
  const { config, clock, random, log } = options;
  const { data } = config.hub;
  const counters = new Counters();
  const parts = { clock, random, log, counters };
  const lookup = createNames(parts);
  const given = options.ownerTokenFile === undefined ? undefined : readOwnerToken(options.ownerTokenFile);
  await using stack = new AsyncDisposableStack();

  const store = stack.use(await openStore({ dir: data, clock, random, log }));
  const identity = openIdentity(data, random);
  const mesh = stack.use(
    createMesh({
      ...parts,
      storage: store.mesh,
      identity,
      transportIdentity: transportIdentityOf(config, identity, random),
      forwards: config.hub.transport,
      sharedInstance: config.sharedInstance !== undefined,
      blackhole: blackholeOf(config.mesh),
      threads: createSignatureThreads(),
    }),
  );
  const shownName = ({ bridges, hub }: Config) => bridges.lxmf.displayName ?? hub.name;
  let displayName = shownName(config);
  const lxmf = new LxmfBridge({
    ...parts,
    get displayName() {
      return displayName;
    },
    transport: mesh.transport,
    router: mesh.router,
    identity,
    hubId: toHex(identity.hash),
  });

  const http = endpointOf(config.listen.http);
  const mqttAt = endpointOf(config.listen.mqtt);
  const listener = await createListener({ ...parts, ...http, origins: config.bridges.http.cors });
  stack.defer(() => listener.close());
  // The broker is a bridge of the switch and a window on it: each needs the other, so one is named before it is made.
  const mqtt = createMqttBridge({
    ...parts,
    get desk() {
      return gateway.desk;
    },
    get access() {
      return access;
    },
    config: config.bridges.mqtt,
    ...mqttAt,
    file: join(data, 'mqtt.db'),
  });
  const matrix = await openMatrix(config, {
    ...parts,
    desk: () => gateway.desk,
    file: join(data, 'matrix.db'),
    report: health => gateway.report(health),
  });
  stack.defer(() => matrix?.[Symbol.dispose]());
  const cloud = await openConfiguredReplicas(
    config,
    { ...parts, lookup },
    key => host => createReplicaWrites({ ...parts, host, store, key }),
  );
  stack.use(cloud);
  const webhooks = createHubWebhooks({
    ...parts,
    lookup,
    store,
    get gateway() {
      return gateway;
    },
    config: config.bridges.webhook,
  });
  const gateway: Switch = createSwitch({
    ...parts,
    store,
    ...(cloud !== undefined && { replicas: cloud.replicas.desk }),
    hub: { id: toHex(identity.hash), name: config.hub.name, lxmf: lxmf.address, version: manifest.version },
    rooms: config.rooms,
    routes: config.routes,
    limits: { residents: config.bridges.lxmf.residents },
    bridges: [lxmf, mqtt, webhooks.bridge, ...(matrix === undefined ? [] : [matrix])],
  });
  stack.defer(() => gateway.close());
  stack.use(webhooks);
  // Peers keep the path they learnt last: an announce that seems older than one before the clock was set is nothing to them.
  stack.defer(gateway.onClockSet(() => void lxmf.announceNow()));
  const { desk } = gateway;
  const latest = (name: string) =>
    (options.reread?.() ?? config).interfaces.find(entry => entry.name === name);
  const interfaces = createLiveInterfaces(
    config.interfaces.map(entry => ({
      config: entry,
      origin: config.overlaid[entry.name] === 'added' ? 'api' : 'file',
    })),
    {
      ...parts,
      transport: mesh.transport,
      create: entry => createInterface(entry, { ...parts, storage: store.mesh, open: options.openSerial }),
      policyFor,
      latest,
      exitOnError: config.hub.exitOnInterfaceError,
      report: health => gateway.report(health, 'interface.changed'),
      forget: name => gateway.forget(name),
    },
  );
  // Loaded where it is used: few hubs share their machine with other programs of the mesh.
  const shared =
    config.sharedInstance &&
    (await import('./shared-instance.ts')).openSharedInstance(config.sharedInstance, {
      ...parts,
      mesh,
      interfaces,
      forwards: config.hub.transport,
      completed: facts => management.completed(facts),
      data,
      report: health => gateway.report(health, 'interface.changed'),
    });
  stack.defer(
    tellMeshChanges({ clock, ...mesh, publish: (kind, members) => gateway.publish(kind, members) }),
  );
  const settings = createSettings({
    config,
    file: options.file,
    reread: options.reread,
    live: interfaces,
    log: leveled(log, config.log),
    async adopt(wanted) {
      const before = displayName;
      displayName = shownName(wanted);
      webhooks.adopt(wanted.bridges.webhook);
      await gateway.adopt({ name: wanted.hub.name, rooms: wanted.rooms, routes: wanted.routes });
      if (displayName !== before) {
        void lxmf.announceNow();
      }
    },
  });
  const meshView = createMeshView({
    mesh,
    interfaces,
    services: () => desk.health().services,
    announce: () => lxmf.announceNow(),
  });
  const access = createAccess({ clients: desk.clients, clock, counters, audit: desk.audit });
  const sessions = createSessions({ clients: desk.clients });
  const rates = createRates({ clock, counters, policies: config.bridges.http.rates });
  const logins = stack.use(
    createLogins({
      ...parts,
      desk,
      file: loginFile(data),
      terms: loginTermsOf(config.bridges.http.sessions),
    }),
  );
  stack.defer(gateway.onClockSet(() => logins.clockSet()));
  const mintedOwnerToken = await desk.clients.ensureOwner({
    given,
    keep: token => keepOwnerToken(data, token),
  });

  stack.defer(
    desk.clients.onRotated(({ name }) => {
      // What nobody has read yet is not the owner token any more.
      if (name === ownerName) {
        removeOwnerToken(data);
      }
    }),
  );
  const { networkIdentity: groupFile } = config.mesh;
  const networkIdentity = groupFile === undefined ? undefined : openIdentityFile(groupFile, random);
  const management = await createManagement({
    ...parts,
    config: config.mesh,
    mesh,
    node: async () =>
      (await import('./node-facts.ts')).createNodeStatus({
        clock,
        transport: mesh.transport,
        interfaces,
        forwards: config.hub.transport,
        sharedPlace: config.sharedInstance && placeOf(config.sharedInstance),
      }),
    networkIdentity,
    live: interfaces,
    lookup,
    storage: store.mesh,
    forwards: config.hub.transport,
    hubName: () => desk.hub.name,
    version: manifest.version,
  });
  const legacy = await openLegacy(config, listener, { ...parts, desk, access, sessions, rates, logins });
  stack.defer(() => legacy?.listener?.close());
  let backups: Backups | undefined;
  addHttpWindow(listener, {
    ...parts,
    desk,
    access,
    sessions,
    rates,
    ...(legacy && { legacy: legacy.routes }),
    counters: () => counters.snapshot(),
    onSlow: () => counters.add('http/slow-closed'),
    transport: config.hub.transport ? 'on' : 'off',
    config: config.bridges.http,
    logins,
    mesh: meshView,
    interfaces: createInterfaceControl({
      live: interfaces,
      view: name => meshView.interfaces().find(one => one.name === name),
      data,
      base: baseOf({ file: options.file }),
      latest,
      settled: name => settled(gateway, [name]),
      log,
    }),
    interfaceSchema,
    asyncapi,
    settings,
    backups: {
      // Loaded where it is used: once a day, or never.
      async open(order, signal) {
        const { createBackups } = await import('./backup/backups.ts');
        backups ??= createBackups({ data, store, clock, log, hub: () => desk.hub, file: options.file });
        return await backups.open(order, signal);
      },
    },
    management: management.view,
    webhooks: webhooks.desk,
    addresses: () => ({
      mqtt: mqttUrlOf(mqtt, mqttAt.host),
      ...(cloud !== undefined && { replicas: cloud.url() }),
      ...(legacy?.listener && { legacy: legacy.listener.address().url }),
    }),
  });
  addWsWindow(listener, { ...parts, desk, access, sessions, rates });
  listener.onUpgrade('/mqtt', (request, socket, head) => {
    listener.keep(request);
    mqtt.handleUpgrade(request, socket, head);
  });
  if (matrix !== undefined) {
    matrix.addAppservice(listener, matrix.appservice, parts);
  }

  // Before the bridge runs, which would open the port itself and knows nothing of moving on.
  await listenOrMove(port => mqtt.listen(port), mqttAt.port, config.given.has('listen.mqtt'));
  stack.defer(() => mqtt.close());
  // Before the bridges too: the homeserver counts an appservice that it cannot reach as down. It knows one port.
  const fixed = config.given.has('listen.http') || matrix !== undefined;
  await listenOrMove(port => listener.listen(port), http.port, fixed);
  await legacy?.listener?.listen();
  // Before the outbox goes on: some of what waits there may be for them.
  await webhooks.start();
  const stop = new AbortController();
  const running = Promise.all([
    gateway.run(stop.signal),
    interfaces.run(stop.signal),
    shared?.run(stop.signal),
    management.run(stop.signal),
  ]);
  running.catch(error => {
    log.error({ code: codeOf(error), error }, 'the switch failed: the hub cannot go on');
    process.exit(1);
  });
  stack.defer(async () => {
    stop.abort();
    await running;
  });

  await cloud?.start(stop.signal, health => gateway.report(health));
  await listener.control(join(data, 'kosctl.sock'));
  const used = interfaces.list().filter(({ attachment }) => attachment !== undefined);
  await settled(gateway, [
    ...used.map(({ config: { name } }) => name),
    ...(matrix === undefined ? [] : [matrix.name]),
    ...(shared?.names ?? []),
  ]);

  await recordStart(desk.audit, manifest.version);

  const opened = stack.move();
  return {
    facts: desk.hub,
    desk,
    mintedOwnerToken,
    data,
    httpUrl: listener.address().url,
    mqttUrl: mqttUrlOf(mqtt, mqttAt.host),
    replicasUrl: cloud?.url(),
    legacyUrl: legacy?.listener?.address().url,
    interfaces,
    interfaceAddresses: () =>
      Object.fromEntries(
        interfaces.list().flatMap(({ config: { name }, attachment }) => {
          const address = attachment && addressOf(attachment.iface);
          return address === undefined ? [] : [[name, address]];
        }),
      ),
    announce: () => lxmf.announceNow(),
    reload: () => recordReload(desk.audit, settings.reload),
    close: () => close(opened, [listener, legacy?.listener, cloud?.svc], desk.audit),
  };
}

function mqttUrlOf(mqtt: MqttBridge, host: string): string {
  const port = mqtt.address()?.port ?? 0;
  return `mqtt://${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The listener first: nothing is accepted any more, and what is under way ends while everything still works. */
async function close(
  opened: AsyncDisposableStack,
  listeners: readonly (Pick<Listener | SvcListener, 'close'> | undefined)[],
  audit: Audit,
): Promise<void> {
  await Promise.all(listeners.map(one => one?.close()));
  if (!opened.disposed) {
    await recordStop(audit);
  }
  await opened.disposeAsync();
}
