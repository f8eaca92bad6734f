import { type Address, nameOf, schemeOf } from './message.ts';

/** What an address says to a person: the user of a Matrix id, the device of a topic, the beginning of a hash. */
export function plainName(address: Address): string {
  const name = nameOf(address);
  switch (schemeOf(address)) {
    case 'matrix':
      return name.replace(/^[@!#]([^:]*).*$/su, '$1');
    case 'mqtt':
      return name.replace(/^dev\//, '');
    case 'lxmf':
    case 'kmesh':
      return name.slice(0, 8);
    default:
      return name;
  }
}
