import type { Clock } from '../lib/clock.ts';
import type { Counters } from '../lib/counters.ts';
import { codeOf, GatewayError } from '../lib/errors.ts';
import type { Log } from '../lib/log.ts';
import type { Random } from '../lib/random.ts';
import { type ServiceHealth, supervise } from '../lib/service.ts';
import { createAcceptor } from './acceptor.ts';
import { createAudit } from './audit.ts';
import type { Bridge, BridgePort } from './bridge.ts';
import { type ClientBook, createClients } from './clients.ts';
import { createConversations } from './conversations.ts';
import { createCursors } from './cursor.ts';
import { createDeliveryList } from './delivery-list.ts';
import type { Client, Desk, EventKind, GatewayEvent, Health, HubFacts } from './desk.ts';
import { watchDisk } from './disk-watch.ts';
import { createDoor } from './door.ts';
import { createEvents } from './events.ts';
import { watchHeld } from './held-watch.ts';
import { house } from './housing.ts';
import { createHubClock } from './hub-clock.ts';
import { createHubHealth } from './hub-health.ts';
import { orderedId } from './ids.ts';
import { createInbox } from './inbox.ts';
import { defaultLimits, type Limits } from './limits.ts';
import { messageId, schemeOf } from './message.ts';
import { createMessages } from './messages.ts';
import { Outbox } from './outbox.ts';
import { createRecentMessages } from './recent-messages.ts';
import type { ReplicaDesk } from './replicas/contract.ts';
import { createResidents } from './residents.ts';
import type { ConfiguredRooms } from './room-book.ts';
import { createRoomDesk } from './room-desk.ts';
import { createRouteDesk } from './route-desk.ts';
import type { RouteRule } from './route-rule.ts';
import { createSaidNow } from './said-now.ts';
import { createSociety } from './society.ts';
import { viewOf } from './store/delivery-table.ts';
import type { Store } from './store/store.ts';
import { sweepOnce } from './sweep.ts';
import { createTimeWatch } from './time-watch.ts';
import { createWaitingBlobs } from './waiting-blobs.ts';

export interface SwitchOptions {
  /** Open already: the mesh remembers in it before the hub's own address is known. */
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: Counters;
  readonly hub: Omit<HubFacts, 'boot'>;
  /** As the configuration says; what was changed while the hub ran lies over them. */
  readonly rooms: ConfiguredRooms;
  readonly routes?: readonly RouteRule[];
  readonly bridges: readonly Bridge[];
  /** What windows show of the replicas. */
  readonly replicas?: ReplicaDesk;
  readonly limits?: Partial<Limits>;
}

/** One switch with many ports. */
export interface Switch {
  readonly desk: Desk & { readonly clients: ClientBook };
  /** Runs every bridge, supervised, and the outbox, until the signal; resolves when all have stopped. */
  run(signal: AbortSignal): Promise<void>;
  /** The health of a part that is not a bridge: an interface, a listener. Its changes become events. */
  report(health: ServiceHealth, kind?: 'interface.changed' | 'health.changed'): void;
  /** Rooms, routes and the hub's name are these from now on; what lies in a room that is gone stays where it is. */
  adopt(wanted: Pick<SwitchOptions, 'rooms' | 'routes'> & { readonly name: string }): Promise<void>;
  /** A part that is not a bridge is no part of the hub any more: its health is nobody's business. */
  forget(name: string): void;
  /** Something happened in the mesh that watchers of it want to see. */
  publish(
    kind: Extract<EventKind, 'path.changed' | 'link.changed'>,
    members: Pick<GatewayEvent, 'path' | 'link'>,
  ): void;
  onHealth(listener: (health: Health) => void): () => void;
  /** The machine's clock was set, by so many ms: what tells others the time tells it again. */
  onClockSet(listener: (by: number) => void): () => void;
  /** Ends what is left waiting. The store stays open: it is its opener's. */
  close(): Promise<void>;
}

/** ms between two sweeps of what is too old. */
const sweepEvery = 60_000;

/** Joins the parts: acceptor, outbox, inbox, events, directory, clients, and one port per bridge. */
export function createSwitch(options: SwitchOptions): Switch {
  const { store, random, log, counters } = options;
  const clock = createHubClock(options.clock);
  const limits: Limits = { ...defaultLimits, ...options.limits };
  const hub: HubFacts & { name: string } = { ...options.hub, boot: store.boot };
  const bridges = new Map(options.bridges.map(bridge => [bridge.name, bridge]));
  const cursors = createCursors(store.epoch);
  const audit = createAudit({ store, clock, log, counters, cursors });
  const residents = createResidents({ store, clock, bridges: options.bridges, limit: limits.residents });
  const clients = createClients({
    store,
    clock: options.clock,
    random,
    log,
    limit: limits.clients,
    residents,
  });
  const waitingBlobs = createWaitingBlobs({ store, clock: options.clock, limits });
  const recent = createRecentMessages();
  const outbox = new Outbox({
    store,
    clock,
    random,
    log,
    counters,
    limits,
    bridges: options.bridges,
    recent,
  });
  const inbox = createInbox({ store, clock, log, cursors, recent });
  const events = createEvents({ store, cursors, recent });
  const society = createSociety({
    store,
    clock,
    random,
    log,
    counters,
    limits,
    hub,
    bridges: options.bridges,
    residents,
    clients,
    outbox,
    rooms: options.rooms,
    routes: options.routes ?? [],
    onMoved: () => void house(housing),
  });
  const { notes, blocks, directory, book, routes, routeBook, routing, roomsOf, roomExists } = society;
  const mayReadBlob = (client: Client, sha256: string): boolean =>
    client.scopes.includes('admin') ||
    store.read.ownsBlob(sha256, client.name) ||
    store.read.blobCarriers(sha256).some(id => {
      const message = store.read.message(id);
      return message !== undefined && messages.maySee(client, message);
    });

  const ownBlob = (client: Client, sha256: string) =>
    store.committer.commit('blob.own', { sha256, client: client.name, at: clock.now() });

  const acceptor = createAcceptor({
    store,
    clock,
    random,
    counters,
    limits,
    hub,
    bridges,
    outbox,
    recent,
    routing,
    admit: routes.admit,
    wordsFor: routes.wordsFor,
    rulingOf: routes.rulingOf,
    onTraffic: (addresses, standing) => directory.keep(addresses, standing),
    onInbox: addresses => inbox.wake(addresses),
  });
  const messages = createMessages({
    store,
    clients,
    clock,
    random,
    limits,
    acceptor,
    outbox,
    cursors,
    blobs: store.blobs,
    waitingBlobs,
    mayReadBlob,
    roomsOf,
    roomExists,
    conversations: createConversations({
      store,
      cursors,
      roomsOf,
      nameOf: address => directory.peek(address)?.name,
    }),
  });

  const door = createDoor({
    book,
    notes,
    acceptor,
    clock,
    counters,
    log,
    partyAt: residents.at,
    membersOf: society.membersOf,
    hubName: () => hub.name,
  });

  function tell(kind: EventKind, members: Partial<GatewayEvent>): void {
    const event = { at: clock.now(), kind, body: JSON.stringify(members), audience: ['scope:mesh:read'] };
    store.committer.commit('events.add', { events: [event] }).catch(error => {
      counters.add('events/unwritten');
      log.debug({ code: codeOf(error) }, 'an event could not be written');
    });
  }

  const health = createHubHealth({
    store,
    bridges: options.bridges,
    queued: () => outbox.size,
    tell,
  });
  const { report } = health;

  store.committer.onHealth(state => {
    report(state);
    if (state.state === 'up') {
      const strays = society.strays();
      outbox.recover(id => strays.has(id));
      // What was committed without word of it lies in inboxes, too.
      inbox.wakeAll();
      void society.callBackStrays(strays);
    }
  });

  function portOf(bridge: Bridge, ready: () => void): BridgePort {
    return {
      ready,
      async accept(incoming) {
        if (store.read.knownAs(bridge.name, incoming.remoteId) !== undefined) {
          const { id, repeated } = await acceptor.accept(bridge.name, incoming);
          return { id, repeated };
        }
        if (blocks.has(incoming.from)) {
          counters.add('blocked/dropped');
          return { id: messageId(bridge.name, incoming.remoteId), repeated: true };
        }
        const quiet = await door.heed(incoming);
        const { id, repeated } = await acceptor.accept(bridge.name, incoming, { quiet });
        return { id, repeated };
      },
      remember: (id, bytes, remoteId) => outbox.remember(id, bytes, remoteId),
      report: (id, progress) => outbox.report(id, progress),
      explain: (id, reason) => outbox.explain(id, reason),
      reachable: to => outbox.reachable(bridge.name, to),
      resolve: remoteId => store.read.knownAs(bridge.name, remoteId)?.message,
      remoteIds: (message, to) => store.read.remoteIds(bridge.name, message, to),
      seen: (address, facts) => directory.seen(address, facts),
      refuses: blocks.has,
      async host(address, resident) {
        if (schemeOf(address) !== bridge.name) {
          throw new GatewayError(
            'request/invalid',
            `${bridge.name} speaks for no ${schemeOf(address)} address`,
          );
        }
        await (resident === undefined ? residents.giveUp(address) : residents.host(address, resident.name));
      },
      residentOf: residents.of,
      nameOf: society.nameOf,
      blobs: store.blobs,
    };
  }

  async function runBridge(bridge: Bridge, signal: AbortSignal): Promise<void> {
    await supervise(
      {
        name: bridge.name,
        async run(ready, stop) {
          try {
            await bridge.run(portOf(bridge, ready), stop);
          } finally {
            outbox.down(bridge.name, 'stopped');
          }
        },
      },
      {
        clock,
        random,
        log,
        signal,
        onChange(state) {
          report(state);
          if (state.state === 'up') {
            outbox.up(bridge.name);
          } else {
            outbox.down(bridge.name, state.reason ?? 'not ready yet');
          }
        },
      },
    );
  }

  const housing = {
    residents,
    clients,
    get rooms() {
      return book.rooms;
    },
    counters,
    log,
  };
  const time = createTimeWatch({ store, clock, log, outbox, report });
  time.onJump(() => {
    recent.forget();
    events.forget();
  });

  async function sweep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await time.settled;
      await sweepOnce({ store, clock, log, counters, limits }, clock.now(), signal);
      await house(housing);
      await door.welcomeAll();
      await clock.sleep(sweepEvery, signal).catch(() => undefined);
    }
  }

  const desk: Switch['desk'] = {
    hub,
    clients,
    messages,
    deliveries: createDeliveryList({
      store,
      clock,
      cursors,
      outbox,
      saidNow: createSaidNow({ store, bridges, wordsFor: routes.wordsFor }),
      isBlocked: blocks.has,
    }),
    inbox,
    events,
    directory,
    rooms: createRoomDesk({
      store,
      book,
      notes,
      blocks,
      residents,
      hubAddress: `lxmf:${hub.lxmf}`,
      membersOf: society.membersOf,
      automatic: society.automatic,
      placesOf: society.placesOf,
      roomsOf,
      isAsked: address => bridges.get(schemeOf(address))?.residence !== undefined,
      newKey: () => orderedId(clock, random),
      welcome: door.welcome,
      nameOf: directory.nameOf,
      waitsFor(id) {
        const row = store.read.delivery(id);
        return row && outbox.explained(viewOf(row)).reason;
      },
    }),
    routes: createRouteDesk({ book: routeBook, routes, routing, roomExists, now: () => clock.now() }),
    blocks,
    residents: residents.list,
    blobs: store.blobs,
    uploads: store.uploads,
    mayReadBlob,
    async keepBlob(client, bytes, limit) {
      const kept = await waitingBlobs.put(client.name, bytes, limit);
      await ownBlob(clients.current(client), kept.sha256);
      return kept;
    },
    checkBlob: (client, bytes) => waitingBlobs.check(client.name, bytes),
    async ownBlob(client, sha256) {
      await waitingBlobs.add(client.name, sha256);
      await ownBlob(client, sha256);
    },
    health: health.now,
    audit,
    ...(options.replicas !== undefined && { replicas: options.replicas }),
  };

  return {
    desk,
    report,
    async adopt(wanted) {
      hub.name = wanted.name;
      await society.adopt(wanted.rooms, wanted.routes ?? []);
      await house(housing);
    },
    forget: health.forget,
    publish: (kind, members) => tell(kind, members),
    onClockSet: time.onJump,
    onHealth: health.onChange,
    async run(signal) {
      await time.begin();
      await outbox.restore();
      await society.adopt(options.rooms, options.routes ?? []);
      await society.callBackStrays(society.strays());
      await house(housing);
      await door.welcomeAll();
      const running = options.bridges.map(bridge => runBridge(bridge, signal));
      const watching = watchDisk({ store, clock, random, log, report }, signal);
      const holding = watchHeld({ store, clock, log, report }, signal);
      const timing = time.run(signal);
      const sweeping = sweep(signal);
      if (!signal.aborted) {
        await new Promise(resolve => signal.addEventListener('abort', resolve, { once: true }));
      }
      await outbox.stop(new GatewayError('bridge/unavailable', 'the gateway is stopping'));
      await Promise.all([...running, sweeping, watching, holding, timing]);
      await audit.flush();
      await clients.flush();
      await directory
        .flush()
        .catch(error => log.warn({ code: codeOf(error) }, 'the directory could not be written'));
    },
    async close() {
      inbox.close();
      events.close();
    },
  };
}
