#!/usr/bin/env node
// Ends with 0 while the gateway of this data folder answers. Plain JavaScript over the control socket, because a
// container's health check runs twice a minute for ever: it loads nothing and knows no port and no token.
import { request } from 'node:http';
import { join } from 'node:path';
import { dataFolderOf } from './data-folder.js';

const socketPath = join(dataFolderOf(process.argv.slice(2), process.env), 'kosctl.sock');
const call = request({ socketPath, path: '/healthz', timeout: 4000 }, response => {
  response.resume();
  response.on('end', () => end(response.statusCode === 200, `answered ${response.statusCode}`));
});
call.on('timeout', () => call.destroy(new Error('no answer within 4 s')));
call.on('error', error => end(false, error.message));
call.end();

/** @param {boolean} good @param {string} reason */
function end(good, reason) {
  process.stdout.write(good ? 'healthy\n' : `unhealthy: ${reason}\n`);
  process.exit(good ? 0 : 1);
}
