import { allowOrigins } from '../bridges/http/cors.ts';
import type { LegacyParts } from '../bridges/http/legacy/send.ts';
import { addRoutes, type Route, type RouteParts } from '../bridges/http/route.ts';
import { createListener, type Listener } from '../bridges/listener.ts';
import type { Config } from '../config.ts';
import { endpointOf } from './listening.ts';

/** What programs that exist already find here. */
export interface Legacy {
  /** For the hub's own listener. */
  readonly routes: readonly Route[];
  /** The listener of their own, not open yet; undefined where `listen.legacy` is not given. */
  readonly listener: Listener | undefined;
}

/**
 * Adds to the listener what the configuration turns on for programs that exist already, and makes the one of their own.
 * Loads nothing and gives undefined where nothing is turned on.
 */
export async function openLegacy(
  { bridges: { http: config }, listen }: Config,
  listener: Listener,
  parts: Omit<LegacyParts & RouteParts, 'config' | 'listener'>,
): Promise<Legacy | undefined> {
  if (!config.legacySend && config.sms === undefined && config.ntfy === undefined) {
    return undefined;
  }
  const { addLegacyWindow } = await import('../bridges/http/legacy/window.ts');
  const all = { ...parts, config };
  const routes = addLegacyWindow(listener, all, '/ntfy');
  if (listen.legacy === undefined) {
    return { routes, listener: undefined };
  }
  const own = await createListener({ ...parts, ...endpointOf(listen.legacy), origins: config.cors });
  allowOrigins(own.app, config.cors, () => true);
  addRoutes({ ...parts, listener: own }, addLegacyWindow(own, all, ''));
  return { routes, listener: own };
}
