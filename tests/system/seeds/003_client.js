// Document 003 prints no client; this is what its "How it works" says a page does.
const { io } = require('socket.io-client');

const socket = io('http://localhost:8080');
const symbols = ['BTC', 'ETH', 'SOL', 'ADA', 'XRP'];

socket.on('connect', () => socket.emit('subscribe', symbols));
socket.on('crypto:update', (tick) => console.log('tick ' + JSON.stringify(tick)));
