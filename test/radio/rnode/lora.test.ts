import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  frameTimeOnAir,
  loraBitrate,
  packetTimeOnAir,
  preambleSymbols,
  symbolTime,
} from '../../../src/radio/rnode/lora.ts';

const sf8 = { bandwidth: 125_000, spreadingFactor: 8, codingRate: 5 };

test('the bit rate is the one the reference counts with', () => {
  const rounded = (bandwidth: number, spreadingFactor: number, codingRate: number) =>
    Math.round(loraBitrate({ bandwidth, spreadingFactor, codingRate }));
  assert.equal(rounded(125_000, 8, 5), 3125);
  assert.equal(rounded(125_000, 7, 5), 5469);
  assert.equal(rounded(62_500, 8, 8), 977);
});

test('the preamble is 18 symbols, or as many as fill 24 ms', () => {
  assert.equal(preambleSymbols(sf8), 18);
  assert.equal(preambleSymbols({ bandwidth: 500_000, spreadingFactor: 7, codingRate: 5 }), 94);
  assert.equal(preambleSymbols({ bandwidth: 500_000, spreadingFactor: 5, codingRate: 5 }), 94);
});

test('time on air follows the formula of Semtech', () => {
  // 255 B at SF8/125/4:5: 30.25 symbols before, ceil(2052 / 32) × 5 = 325 of payload, 2.048 ms each.
  assert.equal(symbolTime(sf8), 2.048);
  assert.ok(Math.abs(frameTimeOnAir(255, sf8) - (18 + 4.25 + 8 + 325) * 2.048) < 1e-9);
  // Low data rate optimisation at SF12/125: ceil((8 × 51 − 48 + 44) / 40) = 11 blocks.
  const sf12 = { bandwidth: 125_000, spreadingFactor: 12, codingRate: 5 };
  assert.ok(Math.abs(frameTimeOnAir(51, sf12) - (18 + 4.25 + 8 + 55) * 32.768) < 1e-9);
});

test('a packet of 500 bytes goes out in two frames, one of 254 in one', () => {
  assert.equal(packetTimeOnAir(500, sf8), frameTimeOnAir(255, sf8) + frameTimeOnAir(247, sf8));
  assert.equal(packetTimeOnAir(254, sf8), frameTimeOnAir(255, sf8));
  assert.equal(packetTimeOnAir(255, sf8), frameTimeOnAir(255, sf8) + frameTimeOnAir(2, sf8));
  assert.ok(packetTimeOnAir(500, sf8) > 1390 && packetTimeOnAir(500, sf8) < 1450);
});
