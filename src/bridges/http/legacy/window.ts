import type { Listener } from '../../listener.ts';
import type { Route } from '../route.ts';
import { kannelRoutes } from './kannel.ts';
import { addNtfySockets, ntfyRoutes } from './ntfy/routes.ts';
import { playsmsRoutes } from './playsms.ts';
import { type LegacyParts, sendRoutes } from './send.ts';
import { smsgateRoutes } from './smsgate.ts';

/**
 * What the configuration turns on for programs that exist already. On the hub's own listener ntfy stands under `/ntfy`; on
 * one of its own (`listen.legacy`) at the root, for programs that take a host and nothing behind it. Before `listen`.
 */
export function addLegacyWindow(
  listener: Listener,
  given: LegacyParts,
  ntfyPrefix: '/ntfy' | '',
): readonly Route[] {
  const { legacySend, sms, ntfy } = given.config;
  const parts: LegacyParts = { ...given, prove: request => listener.prove(request) };
  if (ntfy !== undefined) {
    addNtfySockets(listener, parts, ntfyPrefix);
  }
  return [
    ...(legacySend ? sendRoutes(parts) : []),
    ...(sms === undefined ? [] : [...kannelRoutes(parts), ...smsgateRoutes(parts), ...playsmsRoutes(parts)]),
    ...(ntfy === undefined ? [] : ntfyRoutes(parts, ntfyPrefix)),
  ];
}
