/** Rooms the hub keeps by itself: they are neither made nor taken away, and only their members change. */
export const hubRoom = 'hub';
export const sensorRoom = 'sensors';

export const isKept = (room: string): boolean => room === hubRoom || room === sensorRoom;
