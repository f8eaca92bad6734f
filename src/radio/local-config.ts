import { z } from 'zod';
import type { LocalPlace } from './local-socket.ts';

export const instanceName = z
  .string()
  .regex(/^[A-Za-z0-9._-]{1,64}$/, 'letters, digits, points, hyphens and underscores, at most 64')
  .describe('instance_name of the reference; on Linux only');

/** What the interface is called that programs of this machine are on. */
export const sharedInstanceInterface = 'shared-instance';

/** Ports that programs look for. Source: RNS 1.5.7. */
export const usualPort = 37_428;
const usualControlPort = 37_429;

/** Programs at once where nothing else is said. */
const defaultPrograms = 64;

const port = z.int().min(0).max(65_535);

/** `sharedInstance:` of the config file: where programs of this machine find this node. */
export const sharedInstanceSchema = z
  .strictObject({
    name: instanceName.optional(),
    port: port
      .optional()
      .describe(`TCP port on the loopback instead of a name; ${usualPort} is what programs look for`),
    controlPort: port
      .optional()
      .describe(`TCP port of status and control; ${usualControlPort} is what programs look for`),
    interfaceManagement: z
      .boolean()
      .default(true)
      .describe('whether programs may attach, detach and reload interfaces'),
    maxPrograms: z.int().min(1).max(1024).default(defaultPrograms).describe('programs at once'),
  })
  .refine(
    ({ name, port, controlPort }) =>
      (port === undefined) === (controlPort === undefined) && (name === undefined || port === undefined),
    { error: 'either a name, or port and controlPort' },
  );

export type SharedInstanceConfig = z.infer<typeof sharedInstanceSchema>;

/** Where an instance is that is called so, or listens there: `default` where nothing is said. */
export function placeOf({
  name,
  port,
}: {
  name?: string | undefined;
  port?: number | undefined;
}): LocalPlace {
  return port === undefined ? { name: name ?? 'default' } : { port };
}
