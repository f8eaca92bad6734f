import type { Section } from './ini.ts';
import { type Findings, given, Keys } from './keys.ts';

/** Log levels of the reference, from 0 to 7. */
const levels = ['error', 'error', 'warn', 'info', 'info', 'debug', 'debug', 'trace'] as const;

/** Keys that only steer how the reference itself works. */
const innards = [
  'use_implicit_proof',
  'force_shared_instance_bitrate',
  'shared_instance_type',
  'link_mtu_discovery',
  'qlen_in_data',
  'qlen_in_announce',
  'qlen_in_pr',
  'qlen_in_il',
  'static_transport_identity',
  'local_hops_delta',
];

/** Keys of kos.yaml. */
export interface ImportedSettings {
  readonly hub: Readonly<Record<string, unknown>>;
  readonly sharedInstance?: Readonly<Record<string, unknown>>;
  readonly mesh?: Readonly<Record<string, unknown>> & { readonly blackhole?: object };
  readonly log?: string;
}

/** `[reticulum]` and `[logging]` as keys of kos.yaml, at the top of the tree. */
export function settingsOf(root: Section, findings: Findings): ImportedSettings {
  const empty: Section = { name: '', values: new Map(), sections: new Map() };
  const keys = new Keys(root.sections.get('reticulum') ?? empty, '[reticulum]', findings);
  const logging = new Keys(root.sections.get('logging') ?? empty, '[logging]', findings);
  const level = logging.number('loglevel');
  logging.pass('logtimestamps');
  logging.end();
  const transport = keys.yes('enable_transport') ?? false;
  findings.taken.push({
    what: '[reticulum] enable_transport',
    why: `hub.transport: ${transport}${transport ? '' : ', as the reference has it where nothing is said'}`,
  });
  const settings = given({
    hub: given({
      transport,
      exitOnInterfaceError: keys.yes('panic_on_interface_error') === true ? true : undefined,
    }),
    sharedInstance: sharedInstanceOf(keys),
    mesh: some(
      given({
        probes: keys.yes('respond_to_probes') ?? false,
        blackhole: some(
          given({
            publish: keys.yes('publish_blackhole'),
            sources: keys.list('blackhole_sources'),
          }),
        ),
        discovery: some(
          given({
            listen: keys.yes('discover_interfaces') === true ? true : undefined,
            sources: keys.list('interface_discovery_sources'),
            cost: keys.number('required_discovery_value'),
            autoconnect: some(
              given({
                most: keys.number('autoconnect_discovered_interfaces'),
                unverified: keys.yes('autoconnect_unverified_implementations'),
              }),
            ),
          }),
        ),
        remoteManagement:
          keys.yes('enable_remote_management') === true
            ? { allowed: keys.list('remote_management_allowed') ?? [] }
            : undefined,
        networkIdentity: keys.text('network_identity'),
      }),
    ),
    log: level === undefined ? undefined : levels[Math.min(7, Math.max(0, Math.round(level)))],
  });
  // The key of its programs is taken by itself: it is a secret, and goes into a file of its own.
  keys.pass('remote_management_allowed', 'rpc_key', ...innards);
  for (const key of ['default_ar_target', 'default_ar_penalty', 'default_ar_grace', 'default_gravity']) {
    if (keys.has(key)) {
      keys.leave(key, 'set it on each interface');
    }
  }
  keys.end();
  return settings as unknown as ImportedSettings;
}

/** Programs find the reference on this machine unless it is told otherwise. */
function sharedInstanceOf(keys: Keys): Record<string, unknown> | undefined {
  const name = keys.text('instance_name');
  const port = keys.number('shared_instance_port');
  const controlPort = keys.number('instance_control_port');
  const overTcp = keys.text('shared_instance_type')?.toLowerCase() === 'tcp';
  const manages = keys.yes('enable_interface_management');
  if (keys.yes('share_instance') === false) {
    return undefined;
  }
  return given({
    name: overTcp ? undefined : name,
    ...(overTcp && { port: port ?? 37_428, controlPort: controlPort ?? 37_429 }),
    interfaceManagement: manages === false ? false : undefined,
  });
}

function some(object: Record<string, unknown>): Record<string, unknown> | undefined {
  return Object.keys(object).length === 0 ? undefined : object;
}
