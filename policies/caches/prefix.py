"""stub"""
from policies.caches.paged import PagedCache
class PrefixCache(PagedCache):
    pass
