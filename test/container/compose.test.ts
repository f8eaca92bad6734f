import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config.ts';

interface Service {
  readonly image: string;
  readonly profiles?: readonly string[];
  readonly read_only?: boolean;
  readonly privileged?: boolean;
  readonly devices?: unknown;
  readonly cap_drop?: readonly string[];
  readonly ports?: readonly string[];
  readonly volumes?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly device_cgroup_rules?: readonly string[];
  readonly depends_on?: Readonly<Record<string, unknown>>;
}

const root = join(import.meta.dirname, '..', '..');
const text = await readFile(join(root, 'docker-compose.yml'), 'utf8');
const { services, volumes } = parse(text, { merge: true }) as {
  services: Readonly<Record<string, Service>>;
  volumes: Readonly<Record<string, unknown>>;
};
const settings = Object.fromEntries(
  (await readFile(join(root, '.env'), 'utf8'))
    .split('\n')
    .filter(line => /^\w+=/.test(line))
    .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
) as Readonly<Record<string, string>>;
const filled = (value: string) =>
  value.replace(/\$\{(\w+):-([^}]*)\}/g, (_, name, other) => settings[name] ?? other);

test('every profile of the compose file has one gateway, and plain is the one without being asked', () => {
  assert.equal(settings.COMPOSE_PROFILES, 'plain');
  for (const profile of ['plain', 'radio', 'island']) {
    const gateways = Object.entries(services).filter(
      ([name, service]) => name.startsWith('kos') && service.profiles?.includes(profile),
    );
    assert.equal(gateways.length, 1, profile);
  }
});

test('what the compose file runs has a read-only root, no rights, and ports on this machine alone', () => {
  for (const [name, service] of Object.entries(services)) {
    assert.equal(service.privileged, undefined, name);
    // A device that is listed keeps the container from starting while it is unplugged.
    assert.equal(service.devices, undefined, name);
    assert.ok((service.profiles ?? []).length > 0, `${name} would start in every profile`);
    if (service.image === 'kos-gateway') {
      assert.equal(service.read_only, true, name);
      assert.deepEqual(service.cap_drop, ['ALL'], name);
    }
    for (const port of service.ports ?? []) assert.match(filled(port), /^127\.0\.0\.1:/, `${name}: ${port}`);
    for (const volume of service.volumes ?? []) {
      const source = volume.split(':')[0] as string;
      assert.ok(/^[./]/.test(source) || source in volumes, `${name}: ${volume}`);
    }
    for (const needed of Object.keys(service.depends_on ?? {})) {
      assert.deepEqual(services[needed]?.profiles, service.profiles, `${name} needs ${needed}`);
    }
  }
  assert.deepEqual(services['kos-radio']?.device_cgroup_rules, ['c 166:* rmw', 'c 188:* rmw']);
});

test('what the compose file sets in the gateway is a configuration that it takes', () => {
  const environment = Object.fromEntries(
    Object.entries(services['kos-island']?.environment ?? {}).map(([name, value]) => [name, filled(value)]),
  );
  const config = loadConfig({ environment });
  assert.equal(config.bridges.matrix?.serverName, 'home.test');
  assert.equal(config.bridges.matrix?.invite, '@me:home.test');
  assert.deepEqual(services.registration?.environment, services['kos-island']?.environment);
});
