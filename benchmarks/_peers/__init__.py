def run_all(uri, tasks):
    return {}
