import type { z } from 'zod';
import type { Desk } from '../../gateway/desk.ts';
import type { WebhookDesk } from '../../gateway/webhooks.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import type { Access } from '../access.ts';
import { asyncapiDocument } from '../asyncapi.ts';
import type { Listener } from '../listener.ts';
import type { Rates } from '../rate.ts';
import type { Sessions } from '../sessions.ts';
import { auditRoutes } from './audit.ts';
import { type Backups, backupRoutes } from './backup.ts';
import { blobRoutes } from './blobs.ts';
import { blockRoutes } from './blocks.ts';
import type { HttpConfig } from './config.ts';
import { allowOrigins } from './cors.ts';
import { docsRoutes } from './docs.ts';
import { eventRoutes } from './events.ts';
import { inboxRoutes } from './inbox.ts';
import { type InterfaceControl, interfaceRoutes } from './interfaces.ts';
import type { Logins } from './logins.ts';
import type { MeshView } from './mesh.ts';
import { type MeshManagement, meshManagementRoutes } from './mesh-management.ts';
import { meshRoutes } from './mesh-routes.ts';
import { messageRoutes } from './messages.ts';
import { metricsRoutes } from './metrics.ts';
import { asyncapiRoute, openapiDocument, openapiRoute } from './openapi.ts';
import { peerRoutes } from './peers.ts';
import { replicaRoutes } from './replicas.ts';
import { roomRoutes } from './rooms.ts';
import { addRoutes, type Route } from './route.ts';
import { ruleRoutes } from './routes.ts';
import { sessionRoutes } from './session.ts';
import { type Settings, settingsRoutes } from './settings.ts';
import { addShortPost } from './short-post.ts';
import { siteRoutes } from './site.ts';
import { statusRoutes } from './status.ts';
import { tokenRoutes } from './tokens.ts';
import { uploadRoutes } from './uploads.ts';
import { webhookRoutes } from './webhooks.ts';

export interface HttpParts {
  readonly desk: Desk;
  readonly clock: Clock;
  readonly log: Log;
  /** Shared with the other windows, so that one lock-out and one bound hold for all. */
  readonly access: Access;
  readonly sessions: Sessions;
  readonly rates: Rates;
  /** All counters, for `/v1/status`. */
  readonly counters: () => Readonly<Record<string, number>>;
  /** Told of each event stream that is ended because its client takes nothing. */
  readonly onSlow?: () => void;
  /** Whether packets of others are passed on: `on` or `off`. */
  readonly transport?: string;
  /** `bridges.http` of the configuration, by default as if nothing were said. */
  readonly config?: HttpConfig;
  /** Operations for programs that exist already, where the configuration turns any on. */
  readonly legacy?: readonly Route[];
  readonly mesh: MeshView;
  readonly interfaces: InterfaceControl;
  /** An entry of `interfaces:`, for the document. */
  readonly interfaceSchema?: z.ZodType;
  /** The AsyncAPI document of a version: only who composes the hub knows all its doors. */
  readonly asyncapi?: (version: string) => Record<string, unknown>;
  readonly settings: Settings;
  readonly backups: Backups;
  readonly management: MeshManagement;
  readonly webhooks: WebhookDesk;
  /** Browsers that are logged in. */
  readonly logins: Logins;
  /** Where else the hub is reached, by the name of the door: `mqtt`, … */
  readonly addresses?: () => Readonly<Record<string, string>>;
}

/** The REST window: adds `/v1` and what stands beside it to the listener. Before `listen`. */
export function addHttpWindow(listener: Listener, parts: HttpParts): void {
  allowOrigins(listener.app, parts.config?.cors ?? []);
  addRoutes({ listener, ...parts }, httpRoutes(parts));
  addShortPost(listener, { ...parts, cors: (parts.config?.cors ?? []).length > 0 });
}

/** Every operation there is, in the order of the document. */
export function httpRoutes(parts: HttpParts): readonly Route[] {
  const { desk, clock, log, sessions } = parts;
  const routes: Route[] = [
    ...messageRoutes(desk, clock),
    ...inboxRoutes(desk, sessions),
    ...eventRoutes({ desk, sessions, clock, log, onSlow: parts.onSlow }),
    ...(parts.legacy ?? []),
    ...blobRoutes(desk, clock),
    ...uploadRoutes(desk),
    ...peerRoutes(desk),
    ...roomRoutes(desk),
    ...ruleRoutes(desk),
    ...blockRoutes(desk),
    ...tokenRoutes(desk, clock),
    ...sessionRoutes(parts),
    ...meshRoutes(parts.mesh),
    ...interfaceRoutes(() => parts.interfaces, parts.interfaceSchema),
    ...meshManagementRoutes(() => parts.management),
    ...replicaRoutes(desk),
    ...webhookRoutes(() => parts.webhooks),
    ...statusRoutes({ ...parts, transport: parts.transport ?? 'off' }),
    ...metricsRoutes(parts),
    ...settingsRoutes(() => parts.settings),
    ...backupRoutes(() => parts.backups),
    ...auditRoutes(desk),
    openapiRoute(clock, () => openapiDocument(routes, desk.hub.version)),
    asyncapiRoute(clock, () => parts.asyncapi?.(desk.hub.version) ?? asyncapiDocument([], desk.hub.version)),
    ...docsRoutes(),
    ...siteRoutes(clock),
  ];
  return routes;
}
