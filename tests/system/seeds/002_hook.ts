import io from 'socket.io-client';
import { useEffect, useState } from 'react';

export function usePriceStream(symbols: string[]) {
  const [prices, setPrices] = useState({});

  useEffect(() => {
    const socket = io('http://localhost:5021');

    socket.on('connected', () => {
      socket.emit('subscribe', { symbols });
    });

    socket.on('price_update', (data) => {
      setPrices(prev => ({
        ...prev,
        [data.symbol]: data
      }));
    });

    return () => socket.disconnect();
  }, [symbols]);

  return prices;
}
