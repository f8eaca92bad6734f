import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { linkMtuOf } from '../../../src/mesh/reticulum/dispatch.ts';

describe('the link MTU of an interface', () => {
  test('follows its bitrate in the tiers of the reference, lower bounds included', () => {
    for (const [bitrate, mtu] of [
      [1200, 500],
      [62_499, 500],
      [62_500, 1024],
      [1_000_000, 2048],
      [9_999_999, 8192],
      [10_000_000, 16_384],
      [100_000_000, 32_768],
      [1_000_000_000, 524_288],
    ] as const) {
      assert.equal(linkMtuOf(bitrate, 1_048_576), mtu);
    }
  });

  test('is no larger than what it carries, and never below 500', () => {
    assert.equal(linkMtuOf(10_000_000, 1196), 1196);
    assert.equal(linkMtuOf(10_000_000, 262_144), 16_384);
    assert.equal(linkMtuOf(1200, 508), 500);
  });
});
