#!/usr/bin/env node
import { mkdirSync } from 'node:fs';
import { dataFolderOf } from './data-folder.js';
import { launch } from './launch.js';

// Whatever the gateway writes is for its owner alone.
process.umask(0o077);
try {
  mkdirSync(dataFolderOf(process.argv.slice(2), process.env), { recursive: true, mode: 0o700 });
} catch {
  // The daemon says so in words, once it has read its configuration.
}
await launch('src/main.ts');
