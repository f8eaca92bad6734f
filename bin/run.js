// Second half of launch.js: the first argument is the entry, the rest are its own.
import { launch } from './launch.js';

const [entry] = process.argv.splice(2, 1);
await launch(entry);
