import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runMixedLoad } from './mixed-load.ts';

const kills = Number(process.env.KILLS ?? 8);

test(`killed with -9 at ${kills} random points under load from REST, WebSocket, MQTT and the mesh, the gateway loses nothing it acknowledged, and who resumes gets nothing twice`, {
  timeout: 600_000,
}, async t => {
  const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`SEED=${seed}`);
  const report = await runMixedLoad({ seed, kills });
  t.diagnostic(JSON.stringify(report));
  const { rest, ws, mqtt, mesh, events } = report;
  assert.ok(Math.min(rest, ws, mqtt, mesh, events) >= kills, 'traffic did flow');
});
